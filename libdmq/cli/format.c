#include "libdmq/cli/format.h"

#include <stdlib.h>
#include <string.h>

#include "libdmq/cli/value.h"

static struct format_step *
add_step(struct format *format, char token)
{
    if (format->step_count == FORMAT_STEPS_MAX) {
        return NULL;
    }
    struct format_step *step = &format->steps[format->step_count++];
    *step = (struct format_step){.token = token};
    return step;
}

/* Escapes are taken out piece by piece between the tokens, for "\x25s" is text and not a token. */
static const char *
add_text(struct format *format, char *piece, size_t size)
{
    char after = piece[size];
    piece[size] = '\0';
    char *plain = malloc(size + 1);
    if (plain == NULL) {
        return "out of memory";
    }
    size_t plain_size = value_unescape(piece, plain);
    piece[size] = after;
    if (plain_size != SIZE_MAX) {
        memcpy(piece, plain, plain_size); /* never longer than it was */
    }
    free(plain);
    if (plain_size == SIZE_MAX) {
        return "escapes are \\t \\n \\r \\0 \\\\ and \\xHH";
    }
    struct format_step *step = add_step(format, '=');
    if (step == NULL) {
        return "it has too many parts";
    }
    step->text = piece;
    step->size = plain_size;
    return NULL;
}

static const char *
add_token(struct format *format, char *token)
{
    if (*token == '%') {
        return add_text(format, token, 1);
    }
    if (*token == '\0' || strchr("tpoTksKSh", *token) == NULL) {
        return "tokens are %t %p %o %T %k %s %K %S %h and %%";
    }
    return add_step(format, *token) != NULL ? NULL : "it has too many parts";
}

static const char *
parse(struct format *format)
{
    const char *reason = NULL;
    char *at = format->text;
    while (reason == NULL && *at != '\0') {
        if (*at == '%') {
            reason = add_token(format, at + 1);
            at += 2;
        } else {
            size_t size = strcspn(at, "%");
            reason = add_text(format, at, size);
            at += size;
        }
    }
    return reason;
}

bool
format_init(struct format *format, const char *spec, const char **ret_reason)
{
    format->step_count = 0;
    format->text = strdup(spec);
    const char *reason = format->text != NULL ? parse(format) : "out of memory";
    if (reason != NULL) {
        format_deinit(format);
        *ret_reason = reason;
        return false;
    }
    return true;
}

void
format_deinit(struct format *format)
{
    free(format->text);
    format->text = NULL;
}

bool
format_wants_headers(const struct format *format)
{
    for (size_t i = 0; i < format->step_count; i++) {
        if (format->steps[i].token == 'h') {
            return true;
        }
    }
    return false;
}

static void
write_headers(const struct format_record *record, struct out *out)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const dmq_header *header = &record->headers[i];
        if (i > 0) {
            out_put(out, ",", 1);
        }
        out_put(out, header->key.data, header->key.size);
        out_put(out, "=", 1);
        out_put(out, header->value.data, header->value.size);
    }
}

static int64_t
size_or_null(dmq_bytes bytes)
{
    return bytes.data != NULL ? (int64_t)bytes.size : -1;
}

static void
write_step(const struct format_step *step, const struct format_record *record, struct out *out)
{
    const dmq_message *message = record->message;
    switch (step->token) {
    case '=':
        out_put(out, step->text, step->size);
        break;
    case 's':
        out_put(out, message->value.data, message->value.size);
        break;
    case 'k':
        out_put(out, message->key.data, message->key.size);
        break;
    case 't':
        out_text(out, record->topic);
        break;
    case 'p':
        out_int(out, record->partition);
        break;
    case 'o':
        out_int(out, message->offset);
        break;
    case 'T':
        out_int(out, message->timestamp);
        break;
    case 'S':
        out_int(out, size_or_null(message->value));
        break;
    case 'K':
        out_int(out, size_or_null(message->key));
        break;
    case 'h':
        write_headers(record, out);
        break;
    default:
        break;
    }
}

void
format_write(const struct format *format, const struct format_record *record, struct out *out)
{
    for (size_t i = 0; i < format->step_count; i++) {
        write_step(&format->steps[i], record, out);
    }
}
