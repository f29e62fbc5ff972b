/* SPDX-License-Identifier: GPL-2.0 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <linux/types.h>

enum { EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_UNSUPPORTED };

/* What the receiver is told to do; see the usage in options.c. */
struct options {
	const char	*ifname;
	const char	*disk;
	const char	*area;
	const char	*report;
	__u16		port;
	unsigned int	queue;
	unsigned int	queues;
	unsigned int	depth;
	unsigned int	cq_entries;
	__u64		area_size;
	__u64		buf_size;
	__u64		rq_entries;
};

void options_parse(struct options *opts, int argc, char **argv);

#endif
