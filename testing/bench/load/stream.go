package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

func sink(args []string) error {
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening on", args[0])
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buffer := make([]byte, 1<<18)
			total := int64(0)
			for {
				n, err := c.Read(buffer)
				total += int64(n)
				if err != nil {
					break
				}
			}
			fmt.Fprintln(c, total)
		}()
	}
}

// source counts what arrived, not what was sent: the two differ by what is still in buffers.
func source(args []string) error {
	d, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	c, err := net.DialTimeout("tcp", args[0], 5*time.Second)
	// A container that was just started may not listen yet.
	for end := time.Now().Add(5 * time.Second); errors.Is(err, syscall.ECONNREFUSED) && time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err = net.DialTimeout("tcp", args[0], 5*time.Second)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	buffer := make([]byte, 1<<18)
	began := time.Now()
	if err := c.SetWriteDeadline(began.Add(d)); err != nil {
		return err
	}
	for err == nil {
		_, err = c.Write(buffer)
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	var arrived int64
	if _, err := fmt.Fscan(c, &arrived); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read how many bytes arrived: %w", err)
	}
	fmt.Printf("%.0f\n", float64(arrived)*8/time.Since(began).Seconds())
	return nil
}
