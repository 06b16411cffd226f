// The Java side of benchmarks.mysql_to_hbase: the same rows by HBase's own client and by its own HFile writer.
// Prints the seconds that the work took, without the JVM's start and after a turn that warms it; the better of two for
// files. Rows: `k%09d`, five columns of text; `uneven`: of lengths that differ from row to row.
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.KeyValue;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.BufferedMutator;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.Put;
import org.apache.hadoop.hbase.io.hfile.CacheConfig;
import org.apache.hadoop.hbase.io.hfile.HFileContext;
import org.apache.hadoop.hbase.io.hfile.HFileContextBuilder;
import org.apache.hadoop.hbase.regionserver.BloomType;
import org.apache.hadoop.hbase.regionserver.StoreFileWriter;
import org.apache.hadoop.hbase.util.Bytes;

public class HBaseReference {
    private static final int COLUMNS = 5;
    private static final byte[] FAMILY = Bytes.toBytes("p");

    public static void main(String[] arguments) throws Exception {
        int rows = Integer.parseInt(arguments[2]);
        Configuration conf = HBaseConfiguration.create();
        if (arguments[0].equals("mutator")) {
            mutator(conf, arguments[1] + "_warm", rows / 10);
            System.out.println(mutator(conf, arguments[1], rows));
        } else {
            boolean uneven = arguments[0].equals("uneven");
            hfile(conf, arguments[1] + ".warm", rows / 5, uneven);
            double first = hfile(conf, arguments[1], rows, uneven);
            System.out.println(Math.min(first, hfile(conf, arguments[1] + ".again", rows, uneven)));
        }
    }

    private static byte[] qualifier(int column) {
        return Bytes.toBytes("c" + column);
    }

    private static byte[] value(int row, int column) {
        return Bytes.toBytes("value " + row + " " + column);
    }

    private static byte[] unevenValue(int row, int column) {
        long number = (long) row * COLUMNS + column;
        long scrambled = number * 2654435761L % (1L << 32) >> 11;
        return Bytes.toBytes("value " + row + " " + column + "x".repeat((int) (scrambled % 21)));
    }

    private static double mutator(Configuration conf, String table, int rows) throws Exception {
        try (Connection connection = ConnectionFactory.createConnection(conf)) {
            long started = System.nanoTime();
            try (BufferedMutator mutator = connection.getBufferedMutator(TableName.valueOf(table))) {
                for (int row = 0; row < rows; row++) {
                    Put put = new Put(Bytes.toBytes(String.format("k%09d", row)));
                    for (int column = 0; column < COLUMNS; column++) {
                        put.addColumn(FAMILY, qualifier(column), value(row, column));
                    }
                    mutator.mutate(put);
                }
            }
            return (System.nanoTime() - started) / 1e9;
        }
    }

    private static double hfile(Configuration conf, String file, int rows, boolean uneven) throws Exception {
        byte[][] keys = new byte[rows][];
        byte[][][] values = new byte[rows][COLUMNS][];
        for (int row = 0; row < rows; row++) {
            keys[row] = Bytes.toBytes(String.format("k%09d", row));
            for (int column = 0; column < COLUMNS; column++) {
                values[row][column] = uneven ? unevenValue(row, column) : value(row, column);
            }
        }
        byte[][] qualifiers = new byte[COLUMNS][];
        for (int column = 0; column < COLUMNS; column++) {
            qualifiers[column] = qualifier(column);
        }
        HFileContext context = new HFileContextBuilder().withBlockSize(65536).build();
        LocalFileSystem system = FileSystem.getLocal(conf);
        system.setWriteChecksum(false); // as HBase itself does: its blocks have checksums already
        long started = System.nanoTime();
        StoreFileWriter writer = new StoreFileWriter.Builder(conf, new CacheConfig(conf), system)
            .withFilePath(new Path(file)).withBloomType(BloomType.ROW).withMaxKeyCount(rows).withFileContext(context)
            .build();
        for (int row = 0; row < rows; row++) {
            for (int column = 0; column < COLUMNS; column++) {
                writer.append(new KeyValue(keys[row], FAMILY, qualifiers[column], 1L, values[row][column]));
            }
        }
        writer.close();
        return (System.nanoTime() - started) / 1e9;
    }
}
