/* SPDX-License-Identifier: MIT */
/* What a message of the soak says: who sent it, its number, and in every word after that which message it belongs to.
 * The checksum is over the whole payload, Adler-32 because Python has it (zlib.adler32).
 *
 *     u32 checksum (of the rest) | u32 size | u64 life24 n24 | that word again, to the end
 */
#ifndef SOAK_PAYLOAD_H
#define SOAK_PAYLOAD_H

#include <stdbool.h>
#include <stdint.h>

#define PAYLOAD_MIN 24u
#define PAYLOAD_MAX 131072u

static inline uint64_t soak_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * 0x2545f4914f6cdd1dull >> 16;
}

/* Small ones, mostly, so that more time goes into shmq; multiples of 8. */
static inline uint32_t payload_size(uint64_t *random)
{
    static const uint32_t most[8] = { 64, 64, 128, 128, 512, 1024, 2048, 8192 };
    uint64_t value = soak_random(random);
    uint32_t limit = value % 64 == 63 ? PAYLOAD_MAX : most[value % 8];

    return PAYLOAD_MIN + (uint32_t)(value >> 6) % (limit - PAYLOAD_MIN + 1) / 8 * 8;
}

static inline uint32_t payload_adler(const unsigned char *bytes, uint32_t count)
{
    uint32_t a = 1, b = 0;

    while (count) {
        uint32_t run = count < 5552 ? count : 5552; /* the sums stay below 2^32 */

        count -= run;
        while (run--) {
            a += *bytes++;
            b += a;
        }
        a %= 65521;
        b %= 65521;
    }
    return b << 16 | a;
}

static inline uint64_t payload_name(uint32_t life, uint32_t n) { return (uint64_t)life << 24 | n; }

static inline void payload_write(unsigned char *bytes, uint32_t size, uint32_t life, uint32_t n)
{
    uint32_t *head = (uint32_t *)(void *)bytes;
    uint64_t *word = (uint64_t *)(void *)bytes;

    head[1] = size;
    for (uint32_t i = 1; i < size / 8; i++)
        word[i] = payload_name(life, n);
    head[0] = payload_adler(bytes + 4, size - 4);
}

/* Which message is it, and is it whole? */
static inline bool payload_read(const unsigned char *bytes, uint64_t size, uint64_t *name)
{
    const uint32_t *head = (const uint32_t *)(const void *)bytes;
    const uint64_t *word = (const uint64_t *)(const void *)bytes;

    *name = 0;
    if (size < PAYLOAD_MIN || size > PAYLOAD_MAX || head[1] != size)
        return false;
    *name = word[1];
    for (uint32_t i = 2; i < size / 8; i++)
        if (word[i] != *name)
            return false;
    return head[0] == payload_adler(bytes + 4, (uint32_t)size - 4);
}

#endif
