/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sections of the page that stand in files of their own. */
#ifndef RENDER_PAGE_PARTS_H
#define RENDER_PAGE_PARTS_H

#include <bcfmt/page.h>

#include "render/page_out.h"

void page_nodes(struct page_out *out, const struct bcfmt_page *page);
void page_set(struct page_out *out, const struct bcfmt_set *set);
/* Versions, files, and the end of the page. */
void page_rest(struct page_out *out, const struct bcfmt_page *page);

#endif
