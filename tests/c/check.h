/* SPDX-License-Identifier: MIT */
/* Checks for tests: never compiled out, and they say what they saw.
 *
 *     CHECK(fd >= 0);                      any condition
 *     CHECK_EQUAL(left, right);            two integers, both printed
 *     CHECK_TEST(a_name_is_a_sentence)     an entry of the table that check_main runs
 *     CHECK_TEST_NEEDS(a_name, need)       one that emulators without `need` leave out (emulated.h), and say so
 *
 * A failed check ends the process with status 1, in a forked child too: its parent checks the status.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a test needs of the kernel, and how to find out. Only an emulator may lack it: elsewhere the test
 * runs and fails. */
struct check_need {
    const char *what;
    bool (*met)(void);
};

struct check_test {
    const char *name;
    void (*run)(void);
    const struct check_need *need; /* or NULL */
};

#define CHECK_TEST(name) { #name, name, NULL }
#define CHECK_TEST_NEEDS(name, need) { #name, name, &(need) }

#ifdef CHECK_EMULATED /* compiled to be run by an emulator of programs, such as qemu-user */
#define CHECK_MAY_LACK true
#else
#define CHECK_MAY_LACK false
#endif

/* What a failure tells besides: which round, which point. */
static char check_context[256];

static inline void check_failed(const char *file, int line, const char *condition)
{
    fflush(stdout);
    fprintf(stderr, "%s:%d: %s%s%s (process %d)\n", file, line, condition, check_context[0] ? "   in " : "",
        check_context, (int)getpid());
    fflush(stderr);
    _exit(1);
}

static inline void check_unequal(const char *file, int line, const char *condition, long long left, long long right)
{
    fprintf(stderr, "left %lld (%#llx), right %lld (%#llx)\n", left, (unsigned long long)left, right,
        (unsigned long long)right);
    check_failed(file, line, condition);
}

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
#define CHECK_EQUAL(left, right)                                                                                    \
    do {                                                                                                            \
        long long check_left = (long long)(left), check_right = (long long)(right);                                 \
        if (check_left != check_right)                                                                              \
            check_unequal(__FILE__, __LINE__, #left " == " #right, check_left, check_right);                        \
    } while (0)

/* Run all tests, or those whose name contains argv[1]; `around` may be NULL, else it runs each. */
static inline int check_main(int argc, char **argv, const struct check_test *tests, size_t count,
    void (*around)(void (*run)(void)))
{
    size_t ran = 0, left_out = 0;

    for (size_t i = 0; i < count; i++) {
        if (argc > 1 && !strstr(tests[i].name, argv[1]))
            continue;
        printf("%s ... ", tests[i].name);
        fflush(stdout);
        if (CHECK_MAY_LACK && tests[i].need && !tests[i].need->met()) {
            printf("LEFT OUT: the emulator does not %s\n", tests[i].need->what);
            left_out++;
            continue;
        }
        snprintf(check_context, sizeof check_context, "%s", tests[i].name);
        if (around)
            around(tests[i].run);
        else
            tests[i].run();
        printf("ok\n");
        ran++;
    }
    printf("%zu tests", ran);
    if (left_out)
        printf(", %zu left out", left_out);
    printf("\n");
    return ran + left_out ? 0 : 1;
}

#endif
