/* SPDX-License-Identifier: MIT */
/* The envelope: what a payload is beyond bytes. A fixed-width element type and up to six extents; never an object. */
#ifndef SHMQ_ENVELOPE_H
#define SHMQ_ENVELOPE_H

#include "map.h"

/* The array that a payload is. */
struct shmq_array_type {
    char kind;              /* 'b' bool, 'i' signed, 'u' unsigned, 'f' float, 'c' complex, 'S' bytes, 'U' UTF-32 */
    char byte_order;        /* '<', '>', or '|' where an element is one byte or bytes */
    uint32_t item_size;     /* bytes */
    uint32_t dimensions;
    uint64_t shape[SHMQ_MAX_DIMENSIONS];
};

/* Can an element of this kind have this size and order? */
static inline bool shmq_array_type_sound(const struct shmq_array_type *type)
{
    uint32_t size = type->item_size;
    bool power = size && !(size & (size - 1));

    if (type->byte_order != '<' && type->byte_order != '>' && type->byte_order != '|')
        return false;
    switch (type->kind) {
    case 'b': return size == 1;
    case 'i':
    case 'u': return power && size <= 8;
    case 'f': return power && size >= 2 && size <= 16;
    case 'c': return power && size >= 8 && size <= 32;
    case 'S': return size > 0 && size <= INT32_MAX; /* what others hold such a size in is signed */
    case 'U': return size > 0 && size <= INT32_MAX && size % 4 == 0;
    default: return false;
    }
}

/* Bytes that such an array has; UINT64_MAX where the number is too large to be meant, be it without the extents that
 * are 0: strides are computed from the others alone. */
static inline uint64_t shmq_array_bytes(const struct shmq_array_type *type)
{
    uint64_t bytes = type->item_size;
    bool empty = false;

    for (uint32_t i = 0; i < type->dimensions; i++)
        if (type->shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(bytes, type->shape[i], &bytes))
            return UINT64_MAX;
    if (bytes > INT64_MAX)
        return UINT64_MAX;
    return empty ? 0 : bytes;
}

/* Describe a block that this process owns. OK, or INVALID where an envelope cannot say it. */
static inline int shmq_envelope_write(struct shmq_block *block, const struct shmq_array_type *type)
{
    struct shmq_envelope *envelope = &block->envelope;
    uint64_t packed[SHMQ_MAX_DIMENSIONS / 2] = { 0 };

    if (type->dimensions > SHMQ_MAX_DIMENSIONS || !shmq_array_type_sound(type))
        return SHMQ_INVALID;
    for (uint32_t i = 0; i < type->dimensions; i++) {
        if (type->shape[i] > UINT32_MAX)
            return SHMQ_INVALID;
        packed[i / 2] |= type->shape[i] << (i % 2 * 32);
    }
    shmq_store_release(&envelope->type,
        (uint64_t)(unsigned char)type->kind | (uint64_t)type->dimensions << 8
            | (uint64_t)(unsigned char)type->byte_order << 16 | (uint64_t)type->item_size << 32,
        SHMQ_S_ENVELOPE);
    for (uint32_t i = 0; i < SHMQ_MAX_DIMENSIONS / 2; i++)
        shmq_store_release(&envelope->shape[i], packed[i], SHMQ_S_ENVELOPE);
    return SHMQ_OK;
}

/* Read the description of a block that this process holds; `bytes` is its payload's length. CORRUPT: it cannot be. */
static inline int shmq_envelope_read(const struct shmq_block *block, uint64_t bytes, struct shmq_array_type *type)
{
    uint64_t word = shmq_load_acquire(&block->envelope.type, SHMQ_READ); /* pairs with S_ENVELOPE, as do the shapes */

    type->kind = (char)shmq_field(word, 0, 8);
    type->dimensions = (uint32_t)shmq_field(word, 8, 8);
    type->byte_order = (char)shmq_field(word, 16, 8);
    type->item_size = (uint32_t)shmq_field(word, 32, 32);
    if (type->dimensions > SHMQ_MAX_DIMENSIONS || !shmq_array_type_sound(type))
        return SHMQ_CORRUPT;
    for (uint32_t i = 0; i < SHMQ_MAX_DIMENSIONS; i++) {
        uint64_t pair = shmq_load_acquire(&block->envelope.shape[i / 2], SHMQ_READ);

        type->shape[i] = (uint32_t)(pair >> (i % 2 * 32));
    }
    return shmq_array_bytes(type) == bytes ? SHMQ_OK : SHMQ_CORRUPT;
}

/* Describe a copy as the original is described. Both blocks are the caller's to write, or to read. */
static inline void shmq_envelope_copy(struct shmq_block *target, const struct shmq_block *source)
{
    shmq_store_release(&target->envelope.type, shmq_load_acquire(&source->envelope.type, SHMQ_READ), SHMQ_S_ENVELOPE);
    for (uint32_t i = 0; i < 3; i++)
        shmq_store_release(&target->envelope.shape[i], shmq_load_acquire(&source->envelope.shape[i], SHMQ_READ),
            SHMQ_S_ENVELOPE);
}

#endif
