/* Token ids that grow; like text_buffer.h, a failed append is remembered and checked once. */
#ifndef SLUICE_TOKENIZER_ID_LIST_H
#define SLUICE_TOKENIZER_ID_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zero-initialise; ids is freed with free. */
typedef struct sluice_id_list {
    int32_t *ids;
    size_t count, capacity;
    bool failed;
} sluice_id_list;

/* Makes room for more ids; false and failed if there is no memory. */
bool sluice_id_list_reserve(sluice_id_list *list, size_t more);

static inline void sluice_id_list_append(sluice_id_list *list, int32_t id)
{
    if (list->count == list->capacity && !sluice_id_list_reserve(list, 1)) return;
    list->ids[list->count++] = id;
}

#endif
