/* Doubly linked lists of small numbers (slots), the links kept in one array beside them: an element
 * is in at most one list at a time of those that share the array. */
#ifndef SLUICE_EXPERTS_INDEX_LIST_H
#define SLUICE_EXPERTS_INDEX_LIST_H

#include <stdint.h>

typedef struct sluice_index_link {
    int32_t next, prev; /* -1 at the ends */
} sluice_index_link;

typedef struct sluice_index_list {
    int32_t first, last; /* -1 if empty */
    int32_t n;
} sluice_index_list;

#define SLUICE_INDEX_LIST_EMPTY ((sluice_index_list){-1, -1, 0})

static inline void sluice_index_list_push_back(sluice_index_list *list, sluice_index_link *links,
                                               int32_t index)
{
    links[index] = (sluice_index_link){-1, list->last};
    if (list->last >= 0)
        links[list->last].next = index;
    else
        list->first = index;
    list->last = index;
    list->n++;
}

static inline void sluice_index_list_push_front(sluice_index_list *list, sluice_index_link *links,
                                                int32_t index)
{
    links[index] = (sluice_index_link){list->first, -1};
    if (list->first >= 0)
        links[list->first].prev = index;
    else
        list->last = index;
    list->first = index;
    list->n++;
}

static inline void sluice_index_list_remove(sluice_index_list *list, sluice_index_link *links,
                                            int32_t index)
{
    sluice_index_link link = links[index];
    if (link.prev >= 0)
        links[link.prev].next = link.next;
    else
        list->first = link.next;
    if (link.next >= 0)
        links[link.next].prev = link.prev;
    else
        list->last = link.prev;
    list->n--;
}

/* The first element, taken out; -1 if there is none. */
static inline int32_t sluice_index_list_pop(sluice_index_list *list, sluice_index_link *links)
{
    int32_t index = list->first;
    if (index >= 0) sluice_index_list_remove(list, links, index);
    return index;
}

#endif
