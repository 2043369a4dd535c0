// Program load is the work of the benchmarks' containers, beside the probe: lines, bytes and questions, measured where they are made.
//
//	load COMMAND [ARGUMENT...]
//
// It owns nothing and knows nothing of berth. What it measures is the last line that it prints; the other side (testing/bench) reads
// that. It exits with 0 if it could do what was asked, else with 1 and a message.
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// command is one kind of work.
type command struct {
	usage string
	min   int // arguments
	run   func(args []string) error
}

// commands is a function because the usage lists them.
func commands() map[string]command {
	return map[string]command{
		"nothing": {"end at once", 0, func([]string) error { return nil }},
		"idle":    {"COUNT: print COUNT short lines, then wait for SIGTERM", 1, idle},
		"lines":   {"COUNT SIZE: print COUNT numbered lines of SIZE bytes, then \"wrote BEGAN ENDED\" in Unix nanoseconds", 2, lines},
		"sink":    {"ADDRESS: take TCP connections, read each to its end, answer with how many bytes came", 1, sink},
		"source":  {"ADDRESS DURATION: send for that long, then print the bits per second that arrived", 2, source},
		"answer":  {"ADDRESS: answer every DNS question with one address, without looking", 1, answer},
		"ask":     {"NAME WORKERS DURATION [SERVER]: ask for NAME's address, print \"answers per second, p99 in microseconds, lost\"", 3, ask},
	}
}

func main() {
	args := os.Args[1:]
	c, ok := command{}, false
	if len(args) > 0 {
		c, ok = commands()[args[0]]
	}
	if !ok || len(args)-1 < c.min {
		for name, c := range commands() {
			fmt.Fprintln(os.Stderr, "load", name, c.usage)
		}
		os.Exit(1)
	}
	if err := c.run(args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func idle(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for i := range n {
		fmt.Println("line", i+1, "of a service that has nothing to do")
	}
	<-stop
	return nil
}

// lines begin with their number, so that a reader finds what is lost or doubled.
func lines(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<16)
	filling := strings.Repeat("x", size)
	began := time.Now()
	for i := range n {
		number := strconv.Itoa(i+1) + " "
		if _, err := w.WriteString(number + filling[:max(0, size-len(number)-1)] + "\n"); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = fmt.Println("wrote", began.UnixNano(), time.Now().UnixNano())
	return err
}
