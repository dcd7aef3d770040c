/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bcache-dump verdict: how much dirty data there is, and what may run without it. */
#include "dump.h"

/* Only a full check can say how many dirty bytes there are; its findings are bcache-fsck's. */
int cmd_verdict(struct dump *d)
{
	struct bcfmt_check_params params = { .level = BCFMT_LEVEL_FULL };
	struct bcfmt_report *report = NULL;
	struct bcfmt_verdict verdict = { 0 };
	uint64_t problems = 0;
	bcfmt_err err;

	err = bcfmt_report_new(d->ctx, &report);
	if (!err)
		err = bcfmt_check_run(d->set, &params, report, &verdict, NULL, NULL);
	if (!err) {
		bcfmt_report_finish(report);
		for (int severity = BCFMT_SEV_WASTE; severity <= BCFMT_SEV_FATAL; severity++)
			problems +=
				bcfmt_report_severity_total(report, (enum bcfmt_severity)severity);
		bcfmt_render_verdict(d->out, d->set, &verdict);
		if (problems && !d->opt.is_quiet)
			cli_error(NULL, "problems found: %llu; bcache-fsck -n names them",
				  (unsigned long long)problems);
	}
	bcfmt_verdict_clear(&verdict);
	bcfmt_report_free(report);
	if (err)
		return dump_failed(d, err);
	return problems ? DUMP_DAMAGED : DUMP_DONE;
}
