# The checks that stand between a damaged word and harm, each to be left out by its name (without.h, self_test.sh).
s/^    return order <= map->geometry.max_order/    if (WITHOUT("the order of a block"))\n        return true;\n&/
s/^    if (value <= map->geometry.granules) {/    if (WITHOUT("the block of a full queue's slot") || value <= map->geometry.granules) {/
s/^        if (block < map->geometry.granules)$/        if (WITHOUT("the block of a slot") || block < map->geometry.granules)/
s/^    if (place > SHMQ_MAX_CAPACITY_SHIFT + 1)/    if (place > SHMQ_MAX_CAPACITY_SHIFT + 1 \&\& !WITHOUT("the size of a queue's place"))/
s/^    if (ref->capacity_shift < SHMQ_MIN_CAPACITY_SHIFT/    if (WITHOUT("what a queue is made with"))\n        return SHMQ_OK;\n&/
s/^    if (shmq_length_bytes(message->length) > 1ull/    if (!WITHOUT("the length of a message") \&\& shmq_length_bytes(message->length) > 1ull/
s/^    if (type->dimensions > SHMQ_MAX_DIMENSIONS ||/    if ((!WITHOUT("the dimensions of an array") \&\& type->dimensions > SHMQ_MAX_DIMENSIONS) ||/
s/^    bool sound = shmq_block_plausible(actor->map, block, word);/    bool sound = WITHOUT("the order at the last ticket") || shmq_block_plausible(actor->map, block, word);/
s/^    for (; budget; budget--) {/    for (; budget || WITHOUT("the bound of a walk"); budget--) {/
s/ || index >= SHMQ_MAX_SUBSCRIBERS)$/ || (!WITHOUT("the index of a subscriber") \&\& index >= SHMQ_MAX_SUBSCRIBERS))/
s/^        if (!entry || qid >= map->geometry.queues)/        if (!entry || (!WITHOUT("the queue of a subscriber") \&\& qid >= map->geometry.queues))/
s/^    if (shmq_block_queue(word) - 1 >= closer->as->map->geometry.max_topics)/    if (!WITHOUT("the topic of a published block") \&\& shmq_block_queue(word) - 1 >= closer->as->map->geometry.max_topics)/
s/^        if (slot < SHMQ_MAX_PROCESSES) {/        if (WITHOUT("the process that holds a ticket") || slot < SHMQ_MAX_PROCESSES) {/
s/^    text\[SHMQ_NAME_MAX\] = 0;/    if (!WITHOUT("the end of a name"))\n        text[SHMQ_NAME_MAX] = 0;/
s/^    while (tier < g->tiers && /    while ((WITHOUT("the tier that a process told") || tier < g->tiers) \&\& /
s/ && index < g->word_count\[tier\] && \*unit/\n        \&\& (WITHOUT("the word that a process told") || index < g->word_count[tier]) \&\& *unit/
