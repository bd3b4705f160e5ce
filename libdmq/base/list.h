/* A circular doubly linked list whose links are part of other structs. A zeroed link is in no
 * list. */
#ifndef DMQ_BASE_LIST_H
#define DMQ_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev;
    struct list *next;
};

/* The struct that a link is a member of. */
#define LIST_ENTRY(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

#define LIST_FOREACH(link, head)                                                                   \
    for (struct list *link = (head)->next; link != (head); link = link->next)

static inline void
list_init(struct list *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool
list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool
list_linked(const struct list *link)
{
    return link->next != NULL;
}

/* Puts link before place: at the end of the list if place is its head. */
static inline void
list_insert(struct list *place, struct list *link)
{
    link->prev = place->prev;
    link->next = place;
    place->prev->next = link;
    place->prev = link;
}

static inline void
list_append(struct list *head, struct list *link)
{
    list_insert(head, link);
}

/* A link that is in no list is left alone. */
static inline void
list_remove(struct list *link)
{
    if (link->next != NULL) {
        link->prev->next = link->next;
        link->next->prev = link->prev;
        *link = (struct list){NULL, NULL};
    }
}

/* Takes out and returns the first link; NULL if there is none. */
static inline struct list *
list_pop(struct list *head)
{
    struct list *link = head->next;
    if (link == head) {
        return NULL;
    }
    list_remove(link);
    return link;
}

/* Moves all of from to the empty or uninitialised to. */
static inline void
list_take(struct list *to, struct list *from)
{
    list_init(to);
    if (!list_empty(from)) {
        *to = *from;
        to->prev->next = to;
        to->next->prev = to;
        list_init(from);
    }
}

#endif
