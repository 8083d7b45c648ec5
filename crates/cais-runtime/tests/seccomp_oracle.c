// Test oracle: builds filters with libseccomp and prints them as hex.
//
// Input, one word list per line:
//   name ARCH NAME                          prints the number of a system call
//   filter DEFAULT                          begins a filter
//   arch TOKEN | noarch TOKEN               adds or removes an architecture
//   rule ACTION NAME [INDEX OP A B]...      adds a rule (not strict)
//   end                                     prints the filter
#define _GNU_SOURCE
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void die(const char *what, int rc)
{
	fprintf(stderr, "%s: %s\n", what, strerror(-rc));
	exit(1);
}

static char *word(void)
{
	return strtok(NULL, " \n");
}

static unsigned long long number(void)
{
	return strtoull(word(), NULL, 0);
}

static int add_rule(scmp_filter_ctx filter)
{
	struct scmp_arg_cmp args[6];
	unsigned int count = 0;
	uint32_t action = number();
	int call = seccomp_syscall_resolve_name(word());
	char *index;

	while ((index = word())) {
		args[count].arg = strtoul(index, NULL, 0);
		args[count].op = number();
		args[count].datum_a = number();
		args[count].datum_b = number();
		count++;
	}
	return seccomp_rule_add_array(filter, action, call, count, args);
}

static int print_filter(scmp_filter_ctx filter)
{
	unsigned char bytes[4096];
	int fd = memfd_create("filter", 0);
	int rc = seccomp_export_bpf(filter, fd);
	ssize_t got;

	lseek(fd, 0, SEEK_SET);
	while ((got = read(fd, bytes, sizeof(bytes))) > 0)
		for (ssize_t i = 0; i < got; i++)
			printf("%02x", bytes[i]);
	printf("\n");
	close(fd);
	seccomp_release(filter);
	return rc;
}

int main(void)
{
	char *line = NULL;
	size_t size = 0;
	scmp_filter_ctx filter = NULL;

	while (getline(&line, &size, stdin) > 0) {
		char *verb = strtok(line, " \n");
		int rc = 0;

		if (!verb)
			continue;
		if (!strcmp(verb, "name")) {
			uint32_t arch = number();
			printf("%d\n", seccomp_syscall_resolve_name_arch(arch, word()));
		} else if (!strcmp(verb, "filter")) {
			filter = seccomp_init(number());
			rc = filter ? 0 : -22;
		} else if (!strcmp(verb, "arch")) {
			rc = seccomp_arch_add(filter, number());
		} else if (!strcmp(verb, "noarch")) {
			rc = seccomp_arch_remove(filter, number());
		} else if (!strcmp(verb, "rule")) {
			rc = add_rule(filter);
		} else if (!strcmp(verb, "end")) {
			rc = print_filter(filter);
		}
		if (rc < 0)
			die(verb, rc);
	}
	return 0;
}
