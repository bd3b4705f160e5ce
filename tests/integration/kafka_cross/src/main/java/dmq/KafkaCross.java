package dmq;

import java.io.BufferedOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.DefaultRecordBatch;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.utils.ByteBufferOutputStream;
import org.apache.kafka.common.utils.Utils;

/**
 * What Kafka's own client makes of record batches; kafka_cross.c says the same for ours, in the same
 * words (the form of the lines is explained in kafka_cross.py).
 *
 * <pre>
 * build CASES FOLDER    writes each batch of CASES to FOLDER/NAME.batch
 * special FOLDER        writes batches that only a broker makes
 * read FILE...          prints the batches of the files
 * murmur2 KEYS          prints the hash of each key of the file
 * </pre>
 */
public final class KafkaCross {
    private static final HexFormat HEX = HexFormat.of();

    private static byte[] unhex(String text) {
        return switch (text) {
            case "null" -> null;
            case "-" -> new byte[0];
            default -> HEX.parseHex(text);
        };
    }

    private static String hex(ByteBuffer buffer) {
        if (buffer == null) {
            return "null";
        }
        byte[] bytes = Utils.toArray(buffer);
        return bytes.length == 0 ? "-" : HEX.formatHex(bytes);
    }

    private static Header[] headers(String[] words, int from) {
        List<Header> headers = new ArrayList<>();
        for (int i = from; i < words.length; i++) {
            String[] sides = words[i].split("=");
            String key = new String(unhex(sides[0]), StandardCharsets.UTF_8);
            headers.add(new RecordHeader(key, unhex(sides[1])));
        }
        return headers.toArray(new Header[0]);
    }

    /** words: batch NAME COMPRESSION PRODUCER EPOCH SEQUENCE TRANSACTIONAL. */
    private static MemoryRecordsBuilder builder(String[] words) {
        return new MemoryRecordsBuilder(
                new ByteBufferOutputStream(512),
                RecordBatch.MAGIC_VALUE_V2,
                Compression.of(CompressionType.forName(words[2])).build(),
                TimestampType.CREATE_TIME,
                0,
                RecordBatch.NO_TIMESTAMP,
                Long.parseLong(words[3]),
                Short.parseShort(words[4]),
                Integer.parseInt(words[5]),
                words[6].equals("1"),
                false,
                RecordBatch.NO_PARTITION_LEADER_EPOCH,
                Integer.MAX_VALUE);
    }

    private static void write(Path folder, String name, MemoryRecords records) throws IOException {
        Files.write(folder.resolve(name + ".batch"), Utils.toArray(records.buffer()));
    }

    private static void build(Path cases, Path folder) throws IOException {
        MemoryRecordsBuilder builder = null;
        String name = null;
        for (String line : Files.readAllLines(cases)) {
            String[] words = line.split(" ");
            if (words[0].equals("batch")) {
                builder = builder(words);
                name = words[1];
            } else if (words[0].equals("record")) {
                builder.append(
                        Long.parseLong(words[1]),
                        unhex(words[2]),
                        unhex(words[3]),
                        headers(words, 4));
            } else {
                write(folder, name, builder.build());
            }
        }
    }

    /** Batches of a broker's own: append time, a transaction's marker, other compressions. */
    private static void special(Path folder) throws IOException {
        for (CompressionType type : CompressionType.values()) {
            MemoryRecordsBuilder builder =
                    new MemoryRecordsBuilder(
                            new ByteBufferOutputStream(512),
                            RecordBatch.MAGIC_VALUE_V2,
                            Compression.of(type).build(),
                            TimestampType.LOG_APPEND_TIME,
                            1000,
                            7777,
                            RecordBatch.NO_PRODUCER_ID,
                            RecordBatch.NO_PRODUCER_EPOCH,
                            RecordBatch.NO_SEQUENCE,
                            false,
                            false,
                            3,
                            Integer.MAX_VALUE);
            builder.append(5, "key".getBytes(StandardCharsets.UTF_8), new byte[300]);
            builder.appendWithOffset(1005, 9, null, new byte[0]); /* as compaction leaves it */
            write(folder, "append_time_" + type.name, builder.build());
        }
        write(
                folder,
                "marker",
                MemoryRecords.withEndTransactionMarker(
                        42, 1234567, 9, 4711, (short) 2,
                        new EndTransactionMarker(ControlRecordType.COMMIT, 5)));
        ByteBuffer empty = ByteBuffer.allocate(61);
        DefaultRecordBatch.writeEmptyHeader(
                empty, RecordBatch.MAGIC_VALUE_V2, 4711, (short) 2, 10, 100, 104, 6,
                TimestampType.CREATE_TIME, 99, false, false);
        empty.flip();
        write(folder, "empty", MemoryRecords.readableRecords(empty));
    }

    private static void print(PrintStream out, RecordBatch batch) {
        out.printf(
                "batch %d %d %s %d %d %d %d%d%d %d %d%n",
                batch.baseOffset(),
                batch.lastOffset(),
                batch.compressionType().name,
                batch.producerId(),
                batch.producerEpoch(),
                batch.baseSequence(),
                batch.isTransactional() ? 1 : 0,
                batch.isControlBatch() ? 1 : 0,
                batch.timestampType() == TimestampType.LOG_APPEND_TIME ? 1 : 0,
                batch.maxTimestamp(),
                batch.countOrNull());
        for (Record record : batch) {
            out.printf(
                    "record %d %d %s %s",
                    record.offset(), record.timestamp(), hex(record.key()), hex(record.value()));
            for (Header header : record.headers()) {
                byte[] key = header.key().getBytes(StandardCharsets.UTF_8);
                byte[] value = header.value();
                out.printf(
                        " %s=%s",
                        hex(ByteBuffer.wrap(key)),
                        hex(value == null ? null : ByteBuffer.wrap(value)));
            }
            out.println();
        }
    }

    private static void read(PrintStream out, Path file) throws IOException {
        ByteBuffer buffer = ByteBuffer.wrap(Files.readAllBytes(file));
        int size = 0;
        out.printf("file %s%n", file.getFileName());
        for (MutableRecordBatch batch : MemoryRecords.readableRecords(buffer).batches()) {
            batch.ensureValid();
            print(out, batch);
            size += batch.sizeInBytes();
        }
        if (size != buffer.limit()) { /* the iterator ends quietly at half a batch */
            out.printf("error %d of %d bytes are batches%n", size, buffer.limit());
        }
    }

    private static void murmur2(PrintStream out, Path keys) throws IOException {
        for (String line : Files.readAllLines(keys)) {
            out.println(Utils.murmur2(unhex(line)));
        }
    }

    public static void main(String[] args) throws IOException {
        try (PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16))) {
            switch (args[0]) {
                case "build" -> build(Path.of(args[1]), Path.of(args[2]));
                case "special" -> special(Path.of(args[1]));
                case "murmur2" -> murmur2(out, Path.of(args[1]));
                case "read" -> {
                    for (int i = 1; i < args.length; i++) {
                        read(out, Path.of(args[i]));
                    }
                }
                default -> throw new IllegalArgumentException(args[0]);
            }
        }
    }

    private KafkaCross() {}
}
