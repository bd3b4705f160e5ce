/* What all codecs of the one table ask of its descriptors. */
#ifndef DMQ_WIRE_DESC_H
#define DMQ_WIRE_DESC_H

#include "libdmq/wire/messages.h"

/* Number of fields that a struct has at a version: they are the first ones, for a field is only
 * ever added at the end. */
size_t desc_fields_at(const struct struct_desc *desc, int version);

/* Size in memory of one value of the field: of one element, if it is a list. */
size_t field_value_size(const struct field_desc *field);

/* The fewest bytes that one value of the field, one element if it is a list, can take on the wire.
 * What a declared count promises is checked against this before anything is allocated. */
size_t field_wire_min(const struct field_desc *field, int version);

/* Range of an integer kind. */
int64_t kind_min(enum field_kind kind);
int64_t kind_max(enum field_kind kind);

/* "i32", "str", ... as messages.def calls it. */
const char *kind_name(enum field_kind kind);

/* An integer or boolean kind at `at`, as a number. */
int64_t kind_load(enum field_kind kind, const void *at);

/* value must be in the kind's range. */
void kind_store(enum field_kind kind, void *at, int64_t value);

/* A list field of a struct: its elements and their number. */
struct list_view {
    void *items;
    uint32_t count;
};

struct list_view field_list(const struct field_desc *field, const void *msg);
void field_set_list(const struct field_desc *field, void *msg, struct list_view list);

#endif
