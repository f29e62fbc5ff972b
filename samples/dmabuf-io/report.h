/* SPDX-License-Identifier: GPL-2.0 */
#ifndef REPORT_H
#define REPORT_H

struct receiver;
struct stream_trailer;

enum stage {
	STAGE_START,
	STAGE_CONNECTED,
	STAGE_FIRST_BYTE,
	STAGE_LAST_BYTE,
	STAGE_STORED,
	STAGE_FLUSHED,
	NR_STAGES
};

void report_start(struct receiver *rx);
void report_stage(enum stage stage);
unsigned int report_seconds(void);
int report_print(struct receiver *rx, const struct stream_trailer *trailer,
		 const char *file);

#endif
