// A step in Java: does what the lines of its job file say, one after the other.
import java.io.*;
import java.net.*;
import java.nio.channels.*;
import java.nio.file.*;
import java.util.*;

public class Job {
    static final List<Object> held = new ArrayList<>();

    static void pause(double ms) throws Exception { Thread.sleep((long) ms); }

    static void fail(String why) { System.err.println(why); System.exit(1); }

    static void write(String path, int kib, int ms) throws Exception {
        byte[] part = new byte[kib * 64];
        Arrays.fill(part, (byte) 'a');
        try (FileOutputStream out = new FileOutputStream(path)) {
            for (int i = 0; i < 16; i++) { out.write(part); pause(ms / 16.0); }
        }
    }

    static void ask(int port, int ms) throws Exception {
        try (Socket s = new Socket()) {
            s.connect(new InetSocketAddress("127.0.0.1", port), ms);
            s.setSoTimeout(ms);
            s.getOutputStream().write("get\n".getBytes());
            byte[] answer = new byte[64];
            int got = s.getInputStream().read(answer);
            String text = got < 0 ? "" : new String(answer, 0, got);
            if (!text.startsWith("ok")) fail("answer: " + text);
        }
    }

    static void serve(int port, int count) throws Exception {
        try (ServerSocket server = new ServerSocket(port, 8, InetAddress.getByName("127.0.0.1"))) {
            for (int i = 0; i < count; i++)
                try (Socket s = server.accept()) {
                    s.getInputStream().read(new byte[64]);
                    s.getOutputStream().write("ok\n".getBytes());
                }
        }
    }

    static int child(List<String> words) throws Exception { return new ProcessBuilder(words).inheritIO().start().waitFor(); }

    static void files(int count, String path) throws Exception {
        List<InputStream> opened = new ArrayList<>();
        for (int i = 0; i < count; i++) opened.add(new FileInputStream(path));
        for (InputStream each : opened) each.close();
    }

    static void procs(int count, int ms) throws Exception {
        List<Process> children = new ArrayList<>();
        for (int i = 0; i < count; i++) children.add(new ProcessBuilder("sleep", String.valueOf(ms / 1000.0)).start());
        for (Process each : children) each.waitFor();
    }

    static void grow(int mib, int ms) throws Exception {
        for (int i = 0; i < mib; i++) {
            byte[] part = new byte[1 << 20];
            Arrays.fill(part, (byte) 1);
            held.add(part);
            pause((double) ms / mib);
        }
    }

    static void churn(int mib, int turns) throws Exception {
        List<byte[]> parts = new ArrayList<>();
        for (int i = 0; i < mib * 1024 / 16 * 9 / 10; i++) parts.add(new byte[16 << 10]);
        for (int i = 0; i < turns * 100; i++) parts.set(i * 31 % parts.size(), new byte[16 << 10]);
        held.add(parts);
    }

    static void lock(String path) throws Exception {
        FileChannel channel = new RandomAccessFile(path, "rw").getChannel();
        held.add(channel);
        if (channel.tryLock() == null) fail(path + ": locked");
    }

    static void step(String[] w) throws Exception {
        switch (w[0]) {
            case "note" -> Files.writeString(Path.of(w[1]), Files.readSymbolicLink(Path.of("/proc/self")).toString());
            case "work" -> { long x = 0; for (long i = 0; i < Long.parseLong(w[1]) * 150000L; i++) x += i % 7; held.add(x); }
            case "idle" -> pause(Integer.parseInt(w[1]));
            case "read" -> { if (Files.readAllBytes(Path.of(w[1])).length < (w.length > 2 ? Integer.parseInt(w[2]) * 1024 : 0)) fail(w[1] + ": too short"); }
            case "write" -> write(w[1], Integer.parseInt(w[2]), Integer.parseInt(w[3]));
            case "grow" -> grow(Integer.parseInt(w[1]), Integer.parseInt(w[2]));
            case "ask" -> ask(Integer.parseInt(w[1]), Integer.parseInt(w[2]));
            case "listen" -> held.add(new ServerSocket(Integer.parseInt(w[1]), 8, InetAddress.getByName("127.0.0.1")));
            case "serve" -> serve(Integer.parseInt(w[1]), Integer.parseInt(w[2]));
            case "run" -> { int bad = child(List.of(w).subList(1, w.length)); if (bad != 0) fail(w[1] + ": status " + bad); }
            case "mkdir" -> Files.createDirectory(Path.of(w[1]));
            case "create" -> Files.createFile(Path.of(w[1]));
            case "churn" -> churn(Integer.parseInt(w[1]), Integer.parseInt(w[2]));
            case "lock" -> lock(w[1]);
            case "files" -> files(Integer.parseInt(w[1]), w[2]);
            case "procs" -> procs(Integer.parseInt(w[1]), Integer.parseInt(w[2]));
            case "exit" -> { System.err.println("stop"); System.exit(Integer.parseInt(w[1])); }
            case "fifo" -> Files.readAllBytes(Path.of(w[1]));
            case "sprinkle" -> { for (int i = 0; i < Integer.parseInt(w[2]); i++) Files.createFile(Path.of(w[1], "part-" + i)); }
            case "once" -> { if (!Files.exists(Path.of(w[1]))) { Files.createFile(Path.of(w[1])); fail("not yet"); } }
            case "check" -> { if (Files.readString(Path.of(w[1])).contains(w[2])) fail(w[1] + ": " + w[2]); }
            case "remove" -> Files.delete(Path.of(w[1]));
            case "say" -> { for (int i = 0; i < Integer.parseInt(w[1]); i++) System.out.print("17,4,abcdefgh\n".repeat(73)); }
            default -> { System.err.println("no " + w[0]); System.exit(97); }
        }
    }

    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0])))
            if (!line.isEmpty()) step(line.split(" "));
        System.exit(0);
    }
}
