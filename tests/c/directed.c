/* SPDX-License-Identifier: MIT */
/* directed [NAME …]: the directed tests, and the table of tags they answer. */
#include <string.h>
#include <time.h>

#include "sim_directed.h"

static void print_tags(void)
{
    printf("\n%-10s %s\n", "tag", "tests");
    for (uint32_t i = 0; i < sim_directed_count(); i++)
        printf("%-10s %s\n", sim_directed_tests[i].tags, sim_directed_tests[i].name);
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
