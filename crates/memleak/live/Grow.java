import java.util.ArrayList;
import java.util.List;

/** Keeps 512 KiB each half second (`leak`), or lets the collector have them (`steady`). */
class Grow {
    public static void main(String[] arguments) throws InterruptedException {
        boolean keeps = arguments[0].equals("leak");
        List<byte[]> kept = new ArrayList<>();
        while (true) {
            byte[] block = new byte[512 << 10];
            java.util.Arrays.fill(block, (byte) 1);
            if (keeps) {
                kept.add(block);
            }
            Thread.sleep(500);
        }
    }
}
