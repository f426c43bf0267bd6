/* Token ids that grow: see id_list.h. */
#include "tokenizer/id_list.h"

#include <stdlib.h>

#include "sluice/text.h"

bool sluice_id_list_reserve(sluice_id_list *list, size_t more)
{
    if (list->failed) return false;
    if (list->ids && list->capacity - list->count >= more) return true;
    size_t capacity = list->capacity ? list->capacity * 2 : 32;
    if (capacity - list->count < more) capacity = list->count + more;
    int32_t *ids =
        capacity > SIZE_MAX / sizeof *ids ? NULL : realloc(list->ids, capacity * sizeof *ids);
    if (!ids) {
        list->failed = true;
        return false;
    }
    list->ids = ids;
    list->capacity = capacity;
    return true;
}

void sluice_ids_free(sluice_ids *ids)
{
    if (!ids) return;
    free(ids->ids);
    *ids = (sluice_ids){0};
}
