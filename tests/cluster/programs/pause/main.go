// Command pause does nothing, as PID 1 of a PID namespace: it collects the orphans and ends at SIGTERM or SIGINT. A pod's
// sandbox runs it. With -until-eof it is PID 1 of a whole cluster or node of tests/support/rigs/cluster: it says when it
// is there, and ends as soon as its standard input does, that is with whoever started it, however that one ends; the
// kernel then ends every process of its namespace.
package main

import (
	"flag"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	untilEOF := flag.Bool("until-eof", false, "end when standard input does")
	flag.Parse()

	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGCHLD, syscall.SIGTERM, syscall.SIGINT)
	if *untilEOF {
		os.Stdout.WriteString("ready\n")
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}()
	}
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			if pid, _ := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 {
				break
			}
		}
	}
}
