/* SPDX-License-Identifier: MIT */
/* directed [NAME …]: the directed tests, and the table of tags they answer. */
#include <string.h>
#include <time.h>

#include "sim_directed.h"

/* Does this test name the tag among its own? */
static bool names_tag(const struct sim_directed *test, const char *tag, size_t length)
{
    for (const char *at = test->tags; *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strcspn(at, " ") == length && strncmp(at, tag, length) == 0)
            return true;
    return false;
}

/* Has a test before this one, or an earlier word of this one's tags, been listed under the tag already? */
static bool listed_before(uint32_t index, const char *tag, size_t length)
{
    for (uint32_t i = 0; i < index; i++)
        if (names_tag(&sim_directed_tests[i], tag, length))
            return true;
    return false;
}

static void print_tag(uint32_t first, const char *tag, size_t length)
{
    printf("%.*s\n", (int)length, tag);
    for (uint32_t i = first; i < sim_directed_count(); i++)
        if (names_tag(&sim_directed_tests[i], tag, length))
            printf("     %s\n", sim_directed_tests[i].name);
}

static void print_tags(void)
{
    printf("\ntag  tests\n");
    for (uint32_t i = 0; i < sim_directed_count(); i++)
        for (const char *tag = sim_directed_tests[i].tags; *tag; tag += strcspn(tag, " "), tag += strspn(tag, " "))
            if (!listed_before(i, tag, strcspn(tag, " ")))
                print_tag(i, tag, strcspn(tag, " "));
}

int main(int argc, char **argv)
{
    uint64_t stops = 0;
    clock_t start = clock();

    for (uint32_t i = 0; i < sim_directed_count(); i++) {
        const struct sim_directed *test = &sim_directed_tests[i];
        uint64_t made;
        bool wanted = argc < 2;

        for (int argument = 1; argument < argc; argument++)
            wanted = wanted || strstr(test->name, argv[argument]) || strcmp(test->tags, argv[argument]) == 0;
        if (!wanted)
            continue;
        made = sim_directed_run(test);
        stops += made;
        printf("ok %8llu stops  [%s] %s\n", (unsigned long long)made, test->tags, test->name);
        fflush(stdout);
    }
    print_tags();
    printf("%llu stops, %.1f s\n", (unsigned long long)stops, (double)(clock() - start) / CLOCKS_PER_SEC);
    return 0;
}
