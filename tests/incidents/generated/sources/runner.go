// An orchestrator in Go: runs the stages of its plan file, one after the other.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
)

func main() {
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		fields := strings.Split(line, "\t")
		var running []*exec.Cmd
		bad := false
		for _, command := range fields[1:] {
			words := strings.Split(command, "\x1f")
			child := exec.Command(words[0], words[1:]...)
			child.Stdout, child.Stderr = os.Stdout, os.Stderr
			if err := child.Start(); err != nil {
				fmt.Fprintln(os.Stderr, err)
				bad = true
				continue
			}
			running = append(running, child)
		}
		for _, child := range running {
			if err := child.Wait(); err != nil {
				fmt.Fprintln(os.Stderr, child.Path, err)
				bad = true
			}
		}
		if bad && fields[0] == "0" {
			os.Exit(1)
		}
	}
}
