package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

func resolve(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 8*time.Second)
	defer cancel()
	for _, name := range args {
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			return err
		}
		slices.Sort(addresses)
		for _, a := range slices.Compact(addresses) {
			fmt.Println(a)
		}
	}
	return nil
}

// lookup speaks DNS itself, so that order, code and time are those of the server.
func lookup(args []string) error {
	server, kind, name := args[0], strings.ToUpper(args[1]), args[2]
	if _, _, err := net.SplitHostPort(server); err != nil {
		server = net.JoinHostPort(server, "53")
	}
	kinds := map[string]dnsmessage.Type{"A": dnsmessage.TypeA, "AAAA": dnsmessage.TypeAAAA, "PTR": dnsmessage.TypePTR}
	t, ok := kinds[kind]
	if !ok {
		return usageError("type " + kind + " is not one of A, AAAA, PTR")
	}
	if t == dnsmessage.TypePTR {
		name = reverse(name)
	}
	q, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return err
	}
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(time.Now().UnixNano()), RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: q, Type: t, Class: dnsmessage.ClassINET}},
	}
	packed, err := query.Pack()
	if err != nil {
		return err
	}
	c, err := net.Dial("udp", server)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(8 * time.Second)); err != nil {
		return err
	}
	if _, err := c.Write(packed); err != nil {
		return err
	}
	buffer := make([]byte, 65536)
	n, err := c.Read(buffer)
	if err != nil {
		return err
	}
	var answer dnsmessage.Message
	if err := answer.Unpack(buffer[:n]); err != nil {
		return err
	}
	fmt.Println(strings.TrimPrefix(answer.RCode.String(), "RCode"))
	for _, r := range answer.Answers {
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			fmt.Println(net.IP(body.A[:]))
		case *dnsmessage.AAAAResource:
			fmt.Println(net.IP(body.AAAA[:]))
		case *dnsmessage.PTRResource:
			fmt.Println(body.PTR)
		}
	}
	return nil
}

// reverse is the name that PTR records of an IPv4 address have; other names stay.
func reverse(name string) string {
	ip := net.ParseIP(name).To4()
	if ip == nil {
		return name
	}
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", ip[3], ip[2], ip[1], ip[0])
}

func interfaces([]string) error {
	all, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, i := range all {
		addresses, err := i.Addrs()
		if err != nil {
			return err
		}
		var texts []string
		for _, a := range addresses {
			texts = append(texts, a.String())
		}
		slices.Sort(texts)
		fmt.Println(i.Name, i.MTU, i.HardwareAddr, strings.Join(texts, " "))
	}
	return nil
}
