public class Garbage {
    public static void main(String[] words) throws Exception {
        long[] sums = new long[4];
        Thread[] threads = new Thread[4];
        for (int n = 0; n < 4; n++) {
            int me = n;
            threads[n] = new Thread(() -> {
                byte[][] kept = new byte[50][];
                for (int i = 0; i < 4000; i++) {
                    kept[i % 50] = new byte[10000 + i];
                    kept[i % 50][i] = (byte) i;
                    sums[me] += kept[i % 50].length + kept[i % 50][i];
                }
            });
            threads[n].start();
        }
        for (Thread thread : threads) thread.join();
        System.out.println(sums[0] + " " + sums[1] + " " + sums[2] + " " + sums[3]);
    }
}
