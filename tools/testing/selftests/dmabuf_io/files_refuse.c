// SPDX-License-Identifier: GPL-2.0
/*
 * File systems and files whose direct I/O needs the page cache or the CPU: refused
 * when the buffer is registered, or for each request if they become such later.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/fsverity.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "fixture.h"
#include "fsmake.h"

#define SLOT	1
#define BLK	FS_BLOCK
#define SIZE	MIB(1)

FIXTURE(files_refuse) {
	struct env e;
	struct assembly a;
};

FIXTURE_VARIANT(files_refuse) {
	const char *script;
	const char *prepare;	/* makes the file */
};

/* The device below has to look at the data */
FIXTURE_VARIANT_ADD(files_refuse, on_crypt) {
	.script = "dmsetup create dio_top --table"
		  " \"0 1048576 crypt cipher_null-ecb - 0 $A 0\" && A=" ASM_DM " &&" EXT4("", ""),
	.prepare = "dd if=/dev/zero of=" FILE_ " bs=4096 count=4",
};

FIXTURE_VARIANT_ADD(files_refuse, data_journal) {
	.script = EXT4("", ",data=journal"),
	.prepare = "dd if=/dev/zero of=" FILE_ " bs=4096 count=4",
};

FIXTURE_VARIANT_ADD(files_refuse, inline_data) {
	.script = EXT4("-O inline_data -I 256", ""),
	.prepare = "echo hello > " FILE_,
};

FIXTURE_VARIANT_ADD(files_refuse, overlayfs) {
	.script = EXT4("", "") " && mkdir -p " MNT "/u " MNT "/w " MNT "/l && echo > " MNT "/l/file"
		  " && mount -t overlay -o lowerdir=" MNT "/l,upperdir=" MNT "/u,workdir=" MNT "/w"
		  " none " MNT,
	.prepare = "dd if=/dev/zero of=" FILE_ " bs=4096 count=4",
};

FIXTURE_VARIANT_ADD(files_refuse, tmpfs) {
	.script = "mkdir -p " MNT " && mount -t tmpfs none " MNT,
	.prepare = "dd if=/dev/zero of=" FILE_ " bs=4096 count=4",
};

FIXTURE_SETUP(files_refuse)
{
	int ret = asm_open(&self->a, &self->e, NULL, variant->script, MEM_UDMABUF, SIZE);

	if (!ret)
		ret = asm_run(&self->a, variant->prepare);
	fixture_ready(_metadata, ret, self->a.why);
}

FIXTURE_TEARDOWN(files_refuse)
{
	EXPECT_EQ(0, asm_close(&self->a, &self->e))
		TH_LOG("%s", self->a.why);
}

TEST_F_TIMEOUT(files_refuse, at_registration, 120)
{
	int fd = open(FILE_, O_RDWR | O_DIRECT);

	ASSERT_LE(0, fd);
	EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(&self->e.ring, SLOT, self->e.mem.fd, fd));
	close(fd);
}

/* Verity is enabled after the buffer was registered: each request is refused */
FIXTURE(files_verity) {
	struct env e;
	struct assembly a;
};

FIXTURE_SETUP(files_verity)
{
	int ret = asm_open(&self->a, &self->e, NULL, EXT4("-O verity", ""), MEM_UDMABUF, SIZE);

	fixture_ready(_metadata, ret, self->a.why);
}

FIXTURE_TEARDOWN(files_verity)
{
	EXPECT_EQ(0, asm_close(&self->a, &self->e))
		TH_LOG("%s", self->a.why);
}

TEST_F_TIMEOUT(files_verity, enabled_later, 120)
{
	struct fsverity_enable_arg arg = {
		.version = 1, .hash_algorithm = FS_VERITY_HASH_ALG_SHA256, .block_size = BLK,
	};
	struct ring *r = &self->e.ring;
	char data[BLK * 2] = "data";
	int fd;

	fd = open(FILE_, O_RDWR | O_CREAT, 0600);
	ASSERT_EQ((ssize_t)sizeof(data), write(fd, data, sizeof(data)));
	close(fd);
	fd = open(FILE_, O_RDONLY | O_DIRECT);
	ASSERT_EQ(0, ring_set_dmabuf(r, SLOT, self->e.mem.fd, fd));
	EXPECT_EQ(BLK, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT, 0, BLK, 0));
	ASSERT_EQ(0, ioctl(fd, FS_IOC_ENABLE_VERITY, &arg));
	EXPECT_EQ(-EOPNOTSUPP, ring_rw(r, IORING_OP_READ_FIXED, fd, SLOT, 0, BLK, 0));
	EXPECT_EQ(-EOPNOTSUPP, ring_set_dmabuf(r, SLOT + 1, self->e.mem.fd, fd));
	close(fd);
}

TEST_HARNESS_MAIN
