/* SPDX-License-Identifier: GPL-2.0 */
/* From the environment of a test to the harness. */
#ifndef DMABUF_IO_FIXTURE_H
#define DMABUF_IO_FIXTURE_H

#include "kselftest_harness.h"
#include "env.h"

#define MIB(n)		((size_t)(n) << 20)

/* SKIP() for what the kernel or the machine lacks, see DMABUF_IO_REQUIRE */
#define LACKS(statement, ...) do {					\
	ASSERT_FALSE(env_required())					\
		TH_LOG(__VA_ARGS__);					\
	SKIP(statement, __VA_ARGS__);					\
} while (0)

/* In FIXTURE_SETUP, which has to return if this is false */
static inline bool fixture_open(struct __test_metadata *_metadata, struct env *e,
				enum mem_kind kind, size_t size, unsigned int ring_flags)
{
	int ret = env_open(e, kind, size, ring_flags);

	if (ret == ENV_SKIP)
		SKIP(return false, "%s", e->why);
	ASSERT_EQ(0, ret)
		TH_LOG("%s", e->why);
	return true;
}

/* In FIXTURE_TEARDOWN */
static inline void fixture_close(struct __test_metadata *_metadata, struct env *e)
{
	EXPECT_EQ(0, env_close(e))
		TH_LOG("%s", e->why);
}

#endif /* DMABUF_IO_FIXTURE_H */
