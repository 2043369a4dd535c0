package main

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/sys/unix"
)

func xattrs(args []string) error {
	for _, name := range args {
		buffer := make([]byte, 65536)
		n, err := unix.Llistxattr(name, buffer)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		keys := strings.FieldsFunc(string(buffer[:n]), func(r rune) bool { return r == 0 })
		slices.Sort(keys)
		for _, key := range keys {
			n, err := unix.Lgetxattr(name, key, buffer)
			if err != nil {
				return fmt.Errorf("%s: %s: %w", name, key, err)
			}
			if strings.HasPrefix(key, "user.") {
				key += "=" + string(buffer[:n])
			}
			fmt.Println(name, key)
		}
	}
	return nil
}

// netBindService is the attribute by which a file's program may bind low ports: revision 2, effective, bit 10 permitted.
// Source: capabilities(7), "File capability extended attribute versioning".
var netBindService = []byte{0x01, 0, 0, 0x02, 0, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

func setCapability(args []string) error {
	for _, name := range args {
		if err := unix.Setxattr(name, "security.capability", netBindService, 0); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func sshKeys([]string) error {
	c, err := net.Dial("unix", os.Getenv("SSH_AUTH_SOCK"))
	if err != nil {
		return err
	}
	defer c.Close()
	keys, err := agent.NewClient(c).List()
	if err != nil {
		return err
	}
	for _, k := range keys {
		fmt.Println(k.Type())
	}
	return nil
}
