// Program probe is what runs in the containers of the tests: one static program in an image without anything else.
//
//	probe COMMAND [ARGUMENT...]
//
// It owns nothing and knows nothing of berth. Its first argument says what it does (probe help lists all); with none
// it is `probe serve :80`. Output is one fact a line, so that a test compares text. It exits with 0 if it
// could do what was asked, 1 with a message on stderr if not, 2 if it wasn't understood.
package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

// command is one thing that the probe can do.
type command struct {
	usage string
	min   int // arguments
	run   func(args []string) error
}

// commands is a function because help lists them.
func commands() map[string]command {
	return map[string]command{
		"serve":          {"ADDRESS: answer HTTP (see serve.go for the paths); SIGTERM ends it with 0", 1, serve},
		"udp-echo":       {"ADDRESS: answer each datagram with this host's name, a space and the datagram", 1, udpEcho},
		"tcp-echo":       {"ADDRESS: send back what comes", 1, tcpEcho},
		"connect":        {"ADDRESS [TEXT]: connect by TCP, send TEXT, print what comes back", 1, connect},
		"udp":            {"ADDRESS TEXT: send a datagram, print the answer", 2, udpAsk},
		"get":            {"URL [COUNT]: print status and body of COUNT requests, each on a connection of its own", 1, get},
		"resolve":        {"NAME...: the addresses of each name, sorted, one a line", 1, resolve},
		"lookup":         {"SERVER TYPE NAME: ask a DNS server for A, AAAA or PTR; print code, then the answers in their order", 3, lookup},
		"env":            {"[NAME...]: print the environment, sorted, or the values of some", 0, env},
		"args":           {"[WORD...]: print each argument on a line, quoted", 0, printArgs},
		"cat":            {"FILE...: print files", 1, cat},
		"ls":             {"FOLDER...: print the names in folders, sorted", 1, ls},
		"stat":           {"FILE...: print mode, uid:gid, size and name", 1, stat},
		"xattrs":         {"FILE...: print the names of extended attributes, and the values of a user's", 1, xattrs},
		"set-capability": {"FILE...: let programs bind low ports, by an attribute of their files", 1, setCapability},
		"ssh-keys":       {"print the types of the keys that the SSH agent has", 0, sshKeys},
		"write":          {"FILE TEXT: write TEXT and a newline to FILE, making its folder", 2, write},
		"write-into":     {"VARIABLE FILE TEXT: write TEXT and a newline to FILE in the folder that an environment variable names", 3, writeInto},
		"remove":         {"FILE...: remove files", 1, remove},
		"mounts":         {"[PREFIX]: print mount point, type and options of the mounts", 0, mounts},
		"id":             {"print uid, gid, groups and capabilities", 0, id},
		"limits":         {"print resource limits", 0, limits},
		"self":           {"print all that this process was given: rights, limits, namespaces, descriptors, environment", 0, self},
		"selves":         {"FOLDER: write what self prints to a file in FOLDER, 1 the first time, then 2 ...", 1, selves},
		"keyring":        {"print the description of this process's session keyring: type, owner, permissions, name", 0, keyring},
		"tty":            {"say whether stdin, stdout and stderr are terminals, and the size", 0, tty},
		"read":           {"print the lines of stdin, each after \"got: \", until its end", 0, read},
		"flood":          {"COUNT SIZE [STREAM]: print COUNT numbered lines of SIZE bytes", 2, flood},
		"count":          {"INTERVAL: print a number each INTERVAL, from 1, until SIGTERM", 1, count},
		"say":            {"TEXT...: print TEXT to stdout; \"2:TEXT\" goes to stderr", 0, say},
		"sleep":          {"[DURATION]: wait, for ever without one; SIGTERM ends it with 0", 0, sleep},
		"exit":           {"CODE [AFTER]: exit with CODE", 1, exit},
		"ignore-signals": {"ignore all signals that can be ignored, saying so", 0, ignoreSignals},
		"signals":        {"print the name of each signal that comes; SIGTERM ends it with 0", 0, signals},
		"alloc":          {"BYTES: take that much memory, use it and wait", 1, alloc},
		"burn":           {"DURATION: use one processor", 1, burn},
		"fork-zombie":    {"leave a process that has ended to PID 1, and wait", 0, forkZombie},
		"children":       {"wait with a child that waits as well; SIGTERM ends both", 0, children},
		"processes":      {"print pid, state and command of every process that can be seen", 0, processes},
		"exchange":       {"FILE FILE [FILE FILE...]: let the two of each pair change places, again and again", 2, exchange},
		"wait-for-file":  {"FILE [TIMEOUT]: wait until FILE is there", 1, waitForFile},
		"ok-after":       {"FILE N: fail, but for the Nth call and those after it; FILE holds the count", 2, okAfter},
		"contains":       {"FILE TEXT: fail unless FILE has TEXT in it", 2, contains},
		"fill":           {"FILE BYTES: write a file of random bytes", 2, fill},
		"ok-if":          {"FILE: fail unless FILE is there", 1, okIf},
		"sysctl":         {"NAME...: print kernel parameters", 1, sysctl},
		"mknod":          {"FILE: try to make a device", 1, mknod},
		"unshare":        {"try to make a user namespace, which the default seccomp profile refuses", 0, unshare},
		"devices":        {"FILE...: say whether each device can be opened", 1, devices},
		"intrude":        {"FILE: once FILE is there, stop a process that is about to execute its program, say things in its name, and wait", 1, intrude},
		"interfaces":     {"print name, MTU and addresses of the network interfaces", 0, interfaces},
		"sequence":       {"COMMAND... [then COMMAND...]: run one after the other, stop at the first that fails", 1, sequence},
	}
}

func main() {
	args := os.Args[1:]
	if len(args) == 0 {
		args = []string{"serve", ":80"}
	}
	if err := run(args); err != nil {
		fmt.Fprintln(os.Stderr, "probe:", err)
		code := 1
		var u usageError
		if errors.As(err, &u) {
			code = u.ExitCode()
		}
		os.Exit(code)
	}
}

type usageError string

func (e usageError) Error() string { return string(e) }
func (usageError) ExitCode() int   { return 2 }

func run(args []string) error {
	all := commands()
	if args[0] == "help" {
		var lines []string
		for name, c := range all {
			lines = append(lines, name+" "+c.usage)
		}
		slices.Sort(lines)
		fmt.Println(strings.Join(lines, "\n"))
		return nil
	}
	c, ok := all[args[0]]
	if !ok {
		return usageError(fmt.Sprintf("unknown command %q; try help", args[0]))
	}
	if len(args)-1 < c.min {
		return usageError(args[0] + " " + c.usage)
	}
	return c.run(args[1:])
}

// sequence needs no shell: the commands share this process. (A semicolon would end a command line for compose.)
func sequence(args []string) error {
	for len(args) > 0 {
		at := slices.Index(args, "then")
		if at < 0 {
			at = len(args)
		}
		if err := run(args[:at]); err != nil {
			return err
		}
		args = args[min(at+1, len(args)):]
	}
	return nil
}
