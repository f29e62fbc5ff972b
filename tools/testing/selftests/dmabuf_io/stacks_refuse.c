// SPDX-License-Identifier: GPL-2.0
/*
 * Devices that have to look at the data, or have it elsewhere than where a
 * device could get it from: refused when the buffer is registered.  One that
 * becomes such a device later refuses each request.
 */
#include <fcntl.h>
#include <unistd.h>
#include "assembly.h"
#include "fixture.h"

#define SLOT	4

#define DM_CREATE(table) "dmsetup create dio_top --table \"" table "\""

FIXTURE(refuse) {
	struct env e;
	struct assembly a;
};

FIXTURE_VARIANT(refuse) {
	const char *path;
	const char *script;
};

FIXTURE_VARIANT_ADD(refuse, dm_crypt) {
	.path = ASM_DM, .script = DM_CREATE("0 131072 crypt cipher_null-ecb - 0 $A 0"),
};

FIXTURE_VARIANT_ADD(refuse, dm_integrity) {
	.path = ASM_DM, .script = DM_CREATE("0 131072 integrity $A 0 - D 1 internal_hash:crc32c"),
};

FIXTURE_VARIANT_ADD(refuse, dm_log_writes) {
	.path = ASM_DM, .script = DM_CREATE("0 131072 log-writes $A $B"),
};

FIXTURE_VARIANT_ADD(refuse, dm_zero) {
	.path = ASM_DM, .script = DM_CREATE("0 131072 zero"),
};

/* One target of a table that can't is enough */
FIXTURE_VARIANT_ADD(refuse, dm_linear_and_crypt) {
	.path = ASM_DM,
	.script = "printf '%s\\n' \"0 131072 linear $A 0\" "
		  "\"131072 8192 crypt cipher_null-ecb - 0 $B 0\" | dmsetup create dio_top",
};

FIXTURE_VARIANT_ADD(refuse, dm_linear_on_crypt) {
	.path = ASM_DM,
	.script = "dmsetup create dio_a --table \"0 131072 crypt cipher_null-ecb - 0 $A 0\" &&"
		  DM_CREATE("0 131072 linear /dev/mapper/dio_a 0"),
};

FIXTURE_VARIANT_ADD(refuse, dm_raid5) {
	.path = ASM_DM,
	.script = "dmsetup create dio_a --table \"0 131072 linear $A 131072\" &&"
		  DM_CREATE("0 262144 raid raid5_ls 3 128 region_size 1024"
			    " 3 - $A - $B - /dev/mapper/dio_a"),
};

/* The other leg is memory that no device reads */
FIXTURE_VARIANT_ADD(refuse, dm_striped_with_brd) {
	.path = ASM_DM, .script = DM_CREATE("0 4096 striped 2 128 $A 0 /dev/ram0 0"),
};

FIXTURE_VARIANT_ADD(refuse, md_raid5) {
	.path = ASM_MD,
	.script = "dmsetup create dio_a --table \"0 262144 linear $A 524288\" &&"
		  "dmsetup create dio_b --table \"0 262144 linear $A 0\" &&"
		  "mdadm --create " ASM_MD " --run --level=5 --size=65536 --assume-clean"
		  " --raid-devices=3 $B /dev/mapper/dio_a /dev/mapper/dio_b",
};

FIXTURE_VARIANT_ADD(refuse, brd) {
	.path = "/dev/ram0", .script = "[ -b /dev/ram0 ] || { echo no brd; exit 4; }",
};

FIXTURE_SETUP(refuse)
{
	int ret = asm_open(&self->a, &self->e, NULL, variant->script, MEM_UDMABUF, MIB(1));

	fixture_ready(_metadata, ret, self->a.why);
}

FIXTURE_TEARDOWN(refuse)
{
	EXPECT_EQ(0, asm_close(&self->a, &self->e))
		TH_LOG("%s", self->a.why);
}

TEST_F_TIMEOUT(refuse, at_registration, 120)
{
	int fd = open(variant->path, O_RDWR | O_DIRECT);

	ASSERT_LE(0, fd)
		TH_LOG("%s", variant->path);
	EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&self->e.ring, SLOT, self->e.mem.fd, fd));
	close(fd);
}

/* The table of a device is replaced after the buffer was registered for it */
FIXTURE(becomes) {
	struct env e;
	struct assembly a;
};

FIXTURE_SETUP(becomes)
{
	int ret = asm_open(&self->a, &self->e, ASM_DM, DM_CREATE("0 131072 linear $A 0"),
			   MEM_UDMABUF, MIB(1));

	fixture_ready(_metadata, ret, self->a.why);
}

FIXTURE_TEARDOWN(becomes)
{
	EXPECT_EQ(0, asm_close(&self->a, &self->e))
		TH_LOG("%s", self->a.why);
}

TEST_F_TIMEOUT(becomes, crypt, 120)
{
	static const char * const table[] = {
		"dmsetup suspend dio_top && dmsetup load dio_top --table"
		" \"0 131072 crypt cipher_null-ecb - 0 $A 0\" && dmsetup resume dio_top",
		"dmsetup suspend dio_top && dmsetup load dio_top --table"
		" \"0 131072 linear $A 0\" && dmsetup resume dio_top",
	};
	struct ring *r = &self->e.ring;
	int fd = self->a.top.fd, i, ret;

	ASSERT_EQ(0, ring_set_dmabuf(r, SLOT, self->e.mem.fd, fd));
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(65536, ring_rw(r, IORING_OP_WRITE_FIXED, fd, SLOT, 0, 65536, 0));
		EXPECT_EQ(65536, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT, 0, 65536, 0));
		ret = asm_run(&self->a, table[i & 1]);
		ASSERT_EQ(0, ret)
			TH_LOG("%s", self->a.why);
		if (i & 1)
			continue;
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(r, IORING_OP_WRITE_FIXED, fd, SLOT, 0, 65536, 0));
		EXPECT_EQ(-EOPNOTSUPP, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT, 0, 65536, 0));
		EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(r, SLOT + 1, self->e.mem.fd, fd));
		ASSERT_EQ(0, asm_run(&self->a, table[1]));
	}
}

TEST_HARNESS_MAIN
