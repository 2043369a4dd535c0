package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// answer is the least that a resolver can do: it is the limit that resolvers are held against.
func answer(args []string) error {
	c, err := net.ListenPacket("udp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("listening on", args[0])
	buffer := make([]byte, 512)
	for {
		n, from, err := c.ReadFrom(buffer[:256])
		if err != nil {
			return err
		}
		if n < 12 {
			continue
		}
		binary.BigEndian.PutUint16(buffer[2:], 0x8180) // an answer, recursion available
		binary.BigEndian.PutUint16(buffer[6:], 1)      // one record
		// The name is the question's, at byte 12; type A, class IN, 10 minutes, 4 bytes.
		record := []byte{0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 192, 0, 2, 1}
		if _, err := c.WriteTo(append(buffer[:n:n], record...), from); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
}

func ask(args []string) error {
	workers, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	server := ""
	if len(args) > 3 {
		server = args[3]
	} else if server, err = nameserver(); err != nil {
		return err
	}
	began := time.Now()
	times := make([][]time.Duration, workers)
	lost := make([]int, workers)
	errs := make([]error, workers)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { times[i], lost[i], errs[i] = worker(server, args[0], began.Add(d)) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	took := time.Since(began)
	sorted := slices.Concat(times...)
	slices.Sort(sorted)
	gone := 0
	for _, n := range lost {
		gone += n
	}
	if len(sorted) == 0 {
		return fmt.Errorf("no answer from %s", server)
	}
	fmt.Printf("%.0f %d %d\n", float64(len(sorted))/took.Seconds(), sorted[len(sorted)*99/100].Microseconds(), gone)
	return nil
}

// nameserver is the first one of this container.
func nameserver() (string, error) {
	text, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			return net.JoinHostPort(f[1], "53"), nil
		}
	}
	return "", errors.New("/etc/resolv.conf names no server")
}

// worker asks one question after the other, each with an id of its own, over one socket.
func worker(server, name string, end time.Time) (times []time.Duration, lost int, err error) {
	c, err := net.Dial("udp", server)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	q := question(name)
	buffer := make([]byte, 1024)
	for id := uint16(1); time.Now().Before(end); id++ {
		binary.BigEndian.PutUint16(q, id)
		began := time.Now()
		if _, err := c.Write(q); err != nil {
			return nil, 0, err
		}
		if err := c.SetReadDeadline(began.Add(time.Second)); err != nil {
			return nil, 0, err
		}
		n, err := c.Read(buffer)
		for err == nil && (n < 12 || binary.BigEndian.Uint16(buffer) != id) { // a late answer to an earlier one
			n, err = c.Read(buffer)
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			lost++
		case err != nil:
			return nil, 0, err
		case buffer[3]&0xf != 0 || binary.BigEndian.Uint16(buffer[6:]) == 0:
			return nil, 0, fmt.Errorf("%s has no address for %s: code %d", server, name, buffer[3]&0xf)
		default:
			times = append(times, time.Since(began))
		}
	}
	return times, lost, nil
}

// question asks for the IPv4 address of name. Source: RFC 1035, section 4.
func question(name string) []byte {
	q := []byte{0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0} // recursion desired, one question
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		q = append(append(q, byte(len(label))), label...)
	}
	return append(q, 0, 0, 1, 0, 1)
}
