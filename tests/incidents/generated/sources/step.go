// A step in Go: does what the lines of its job file say, one after the other.
package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var held []any

func sure(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(word string) int {
	value, err := strconv.Atoi(word)
	sure(err)
	return value
}

func pause(ms float64) { time.Sleep(time.Duration(ms * float64(time.Millisecond))) }

func read(path string, least int) []byte {
	data, err := os.ReadFile(path)
	sure(err)
	if len(data) < least*1024 {
		sure(fmt.Errorf("%s: too short", path))
	}
	return data
}

func write(path string, kib, ms int) {
	file, err := os.Create(path)
	sure(err)
	part := bytes.Repeat([]byte("a"), kib*64)
	for i := 0; i < 16; i++ {
		_, err = file.Write(part)
		sure(err)
		pause(float64(ms) / 16)
	}
	sure(file.Close())
}

func ask(port string, ms int) {
	limit := time.Duration(ms) * time.Millisecond
	c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, limit)
	sure(err)
	sure(c.SetDeadline(time.Now().Add(limit)))
	_, err = c.Write([]byte("get\n"))
	sure(err)
	answer := make([]byte, 64)
	got, err := c.Read(answer)
	sure(err)
	if !strings.HasPrefix(string(answer[:got]), "ok") {
		sure(fmt.Errorf("answer: %s", answer[:got]))
	}
	c.Close()
}

func listen(port string) net.Listener {
	server, err := net.Listen("tcp", "127.0.0.1:"+port)
	sure(err)
	return server
}

func serve(port string, count int) {
	server := listen(port)
	for i := 0; i < count; i++ {
		c, err := server.Accept()
		sure(err)
		c.Read(make([]byte, 64))
		c.Write([]byte("ok\n"))
		c.Close()
	}
}

func run(words []string) {
	command := exec.Command(words[0], words[1:]...)
	command.Stdout, command.Stderr = os.Stdout, os.Stderr
	sure(command.Run())
}

func procs(count, ms int) {
	var children []*exec.Cmd
	for i := 0; i < count; i++ {
		child := exec.Command("sleep", strconv.FormatFloat(float64(ms)/1000, 'f', 3, 64))
		sure(child.Start())
		children = append(children, child)
	}
	for _, child := range children {
		child.Wait()
	}
}

func files(count int, path string) {
	var opened []*os.File
	for i := 0; i < count; i++ {
		file, err := os.Open(path)
		sure(err)
		opened = append(opened, file)
	}
	for _, file := range opened {
		file.Close()
	}
}

func paths(op, a, b string) {
	switch op {
	case "mkdir":
		sure(os.Mkdir(a, 0o755))
	case "create":
		file, err := os.OpenFile(a, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		sure(err)
		file.Close()
	case "lock":
		file, err := os.OpenFile(a, os.O_CREATE|os.O_WRONLY, 0o644)
		sure(err)
		sure(syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB))
		held = append(held, file)
	case "sprinkle":
		for i := 0; i < number(b); i++ {
			file, err := os.Create(fmt.Sprintf("%s/part-%d", a, i))
			sure(err)
			file.Close()
		}
	case "once":
		if _, err := os.Stat(a); err != nil {
			os.WriteFile(a, nil, 0o644)
			sure(fmt.Errorf("not yet"))
		}
	case "check":
		if strings.Contains(string(read(a, 0)), b) {
			sure(fmt.Errorf("%s: %s", a, b))
		}
	case "remove":
		sure(os.Remove(a))
	}
}

func signals(op, a, b string) {
	switch op {
	case "kill":
		sure(syscall.Kill(number(strings.TrimSpace(string(read(a, 0)))), syscall.Signal(number(b))))
	case "polite":
		came := make(chan os.Signal, 1)
		signal.Notify(came, syscall.SIGTERM)
		go func() { <-came; os.Exit(0) }()
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
	}
}

func step(w []string) {
	op, a, b := w[0], "", ""
	if len(w) > 1 {
		a = w[1]
	}
	if len(w) > 2 {
		b = w[2]
	}
	switch op {
	case "note":
		own, err := os.Readlink("/proc/self")
		sure(err)
		sure(os.WriteFile(a, []byte(own), 0o644))
	case "work":
		x := 0
		for i := 0; i < number(a)*200000; i++ {
			x += i % 7
		}
		held = append(held, x)
	case "idle":
		pause(float64(number(a)))
	case "read", "fifo":
		least := 0
		if b != "" {
			least = number(b)
		}
		read(a, least)
	case "write":
		write(a, number(b), number(w[3]))
	case "grow":
		for i := 0; i < number(a); i++ {
			held = append(held, bytes.Repeat([]byte("x"), 1<<20))
			pause(float64(number(b)) / float64(number(a)))
		}
	case "ask":
		ask(a, number(b))
	case "listen":
		held = append(held, listen(a))
	case "serve":
		serve(a, number(b))
	case "run":
		run(w[1:])
	case "procs":
		procs(number(a), number(b))
	case "files":
		files(number(a), b)
	case "exit":
		fmt.Fprintln(os.Stderr, "stop")
		os.Exit(number(a))
	case "say":
		for i := 0; i < number(a); i++ {
			fmt.Print(strings.Repeat("17,4,abcdefgh\n", 73))
		}
	case "kill", "polite", "deaf":
		signals(op, a, b)
	default:
		paths(op, a, b)
	}
}

func main() {
	data, err := os.ReadFile(os.Args[1])
	sure(err)
	for _, line := range strings.Split(string(data), "\n") {
		if words := strings.Fields(line); len(words) > 0 {
			step(words)
		}
	}
}
