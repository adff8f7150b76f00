import java.util.ArrayDeque;
import java.util.Arrays;

/**
 * FORM RATE FILL: takes blocks of 512 KiB, RATE KiB of them a second by the clock.
 *
 * `leak` keeps each, `steady` leaves each to the collector, `cache` keeps them for FILL seconds and then drops the oldest
 * for each that it takes.
 */
class Grow {
    static final int BLOCK = 512 << 10;

    public static void main(String[] arguments) throws InterruptedException {
        long rate = Long.parseLong(arguments[1]) << 10;
        long fill = Math.max(1, rate * Long.parseLong(arguments[2]) / BLOCK);
        long most = switch (arguments[0]) {
            case "leak" -> Long.MAX_VALUE;
            case "cache" -> fill;
            default -> 0;
        };
        ArrayDeque<byte[]> kept = new ArrayDeque<>();
        long taken = 0;
        System.out.println("ready");
        long start = System.nanoTime();
        while (true) {
            while (taken < (System.nanoTime() - start) / 1e9 * rate) {
                byte[] block = new byte[BLOCK];
                Arrays.fill(block, (byte) 1);
                kept.add(block);
                if (kept.size() > most) {
                    kept.remove();
                }
                taken += BLOCK;
            }
            Thread.sleep(1000L * BLOCK / rate);
        }
    }
}
