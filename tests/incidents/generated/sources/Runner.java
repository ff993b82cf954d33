// An orchestrator in Java: runs the stages of its plan file, one after the other.
import java.nio.file.*;
import java.util.*;

public class Runner {
    public static void main(String[] arguments) throws Exception {
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] fields = line.split("\t");
            List<Process> running = new ArrayList<>();
            boolean bad = false;
            for (int i = 1; i < fields.length; i++) running.add(new ProcessBuilder(fields[i].split("\u001f")).inheritIO().start());
            for (Process child : running)
                if (child.waitFor() != 0) { System.err.println("status " + child.exitValue()); bad = true; }
            if (bad && fields[0].equals("0")) System.exit(1);
        }
    }
}
