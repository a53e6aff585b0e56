/* SPDX-License-Identifier: MIT */
/* What a process has, and what lies in the test's directory, as text: so that a test can tell what an operation has
 * left, and a failure can say what it is.
 */
#ifndef LEAKS_H
#define LEAKS_H

#include "region_world.h"

#define LEAKS_TEXT 16384

struct leaks {
    char descriptors[LEAKS_TEXT];
    char files[LEAKS_TEXT];
    int mappings;           /* of files and memfds of regions */
    int threads;
};

static inline void leaks_add(char *text, const char *what, const char *more)
{
    size_t length = strlen(text);

    CHECK((size_t)snprintf(text + length, LEAKS_TEXT - length, "%s%s\n", what, more) < LEAKS_TEXT - length);
}

/* The names in a directory, sorted; NULL ends them. The caller frees each and the array. */
static inline struct dirent **leaks_entries(const char *path, int *count)
{
    struct dirent **entries = NULL;

    *count = scandir(path, &entries, NULL, alphasort);
    return entries;
}

/* All that lies below a directory, which counts itself. */
static inline void leaks_below(char *text, const char *path)
{
    int count;
    struct dirent **entries = leaks_entries(path, &count);

    if (count >= 0)
        leaks_add(text, path, "/");
    for (int i = 0; i < count; i++) {
        char below[512];

        snprintf(below, sizeof below, "%s/%s", path, entries[i]->d_name);
        if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, "..")) {
            leaks_add(text, below, "");
            if (entries[i]->d_type == DT_DIR)
                leaks_below(text, below);
        }
        free(entries[i]);
    }
    free(entries);
}

static inline void leaks_descriptors(char *text)
{
    int count;
    struct dirent **entries = leaks_entries("/proc/self/fd", &count);

    for (int i = 0; i < count; i++) {
        char path[300], target[300] = { 0 };

        snprintf(path, sizeof path, "/proc/self/fd/%s", entries[i]->d_name);
        if (readlink(path, target, sizeof target - 1) > 0 && !strstr(target, "/fd")) {
            char *deleted = strstr(target, " (deleted)"); /* the same file, which has lost its name */

            if (deleted)
                *deleted = 0;
            snprintf(path, sizeof path, "%s -> ", entries[i]->d_name);
            leaks_add(text, path, target);
        }
        free(entries[i]);
    }
    free(entries);
}

static inline int leaks_count_lines(const char *path, const char *with)
{
    FILE *file = fopen(path, "re");
    char line[1024];
    int count = 0;

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file))
        count += strstr(line, with) != NULL;
    fclose(file);
    return count;
}

static inline int leaks_threads(void)
{
    int count;
    struct dirent **entries = leaks_entries("/proc/self/task", &count);

    for (int i = 0; i < count; i++)
        free(entries[i]);
    free(entries);
    return count - 2;
}

/* A mapping of a region's file or memfd has "shmq-" in its path. */
static inline void leaks_look(struct leaks *leaks)
{
    leaks->descriptors[0] = leaks->files[0] = 0;
    leaks_descriptors(leaks->descriptors);
    leaks_below(leaks->files, world_directory);
    leaks->mappings = leaks_count_lines("/proc/self/maps", "shmq-");
    leaks->threads = leaks_threads();
}

/* What there is that was not there before, or the reverse; NULL: nothing. `files`: look at those, too. */
static inline const char *leaks_found(const struct leaks *before, const struct leaks *now, bool files)
{
    static char text[2 * LEAKS_TEXT + 64];

    text[0] = 0;
    if (strcmp(before->descriptors, now->descriptors))
        snprintf(text, sizeof text, "descriptors were\n%sand are\n%s", before->descriptors, now->descriptors);
    else if (files && strcmp(before->files, now->files))
        snprintf(text, sizeof text, "files were\n%sand are\n%s", before->files, now->files);
    else if (before->mappings != now->mappings)
        snprintf(text, sizeof text, "mappings were %d and are %d\n", before->mappings, now->mappings);
    else if (before->threads != now->threads)
        snprintf(text, sizeof text, "threads were %d and are %d\n", before->threads, now->threads);
    return text[0] ? text : NULL;
}

#endif
