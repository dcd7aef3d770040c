/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages: what speaks against a plan, what is lost by it, how far it came. */
#include "cli/message.h"
#include "make.h"

static void tell_issue(const struct make_run *run, const struct bcfmt_make_issue *issue)
{
	static const char *const prefixes[] = { "note: ", "warning: ", "" };
	const char *device = issue->dev ? bcfmt_dev_name(issue->dev) : NULL;

	if (run->options->is_json)
		bcfmt_render_make_issue(run->out, issue);
	else if (issue->level != BCFMT_MAKE_NOTE || run->options->is_verbose)
		cli_error(device, "%s%s", prefixes[issue->level], issue->text);
}

void make_tell_issues(const struct make_run *run)
{
	const struct bcfmt_make_plan *plan = run->plan;

	for (size_t i = 0; i < plan->n_issues; i++) {
		const struct bcfmt_make_issue *issue = &plan->issues[i];

		tell_issue(run, issue);
		if (issue->id != BCFMT_ISSUE_IS_BCACHE)
			continue;
		for (size_t j = 0; j < plan->n_targets; j++)
			if (plan->targets[j].dev == issue->dev)
				make_tell_old(run, &plan->targets[j]);
	}
	if (plan->is_refused && !run->options->is_json)
		cli_error(NULL, "refused, nothing was written");
}

void make_tell_state(const struct make_run *run)
{
	const struct bcfmt_make_plan *plan = run->plan;

	for (size_t i = 0; i < plan->n_targets; i++) {
		const char *device = bcfmt_dev_name(plan->targets[i].dev);

		switch (plan->targets[i].state) {
		case BCFMT_MAKE_UNTOUCHED:
			cli_error(device, "nothing was written to it");
			break;
		case BCFMT_MAKE_ERASED:
			cli_error(device, "was begun: it may have no superblock now, format it"
					  " again");
			break;
		case BCFMT_MAKE_COMPLETE:
			cli_error(device, "was written completely");
			break;
		}
	}
}
