package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// interruption is how signals end the program: the first ends the context, so that what is done is
// saved, and the second the process, at once.
type interruption struct {
	ctx    context.Context
	stop   func()
	signal atomic.Int32 // the first signal, 0 if there was none
}

// catchSignals begins to listen to signals. Those that the parent process has switched off, as
// nohup does, stay so.
func catchSignals() *interruption {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	i := &interruption{ctx: ctx}
	i.stop = func() {
		signal.Stop(signals)
		cancel()
	}
	go func() {
		select {
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				i.signal.Store(int32(number))
			}
			i.stop()
		case <-ctx.Done():
		}
	}()
	return i
}

// status is the exit status after a signal, as shells have it: 130 for an interrupt, 143 for
// SIGTERM.
func (i *interruption) status() int {
	number := i.signal.Load()
	if number == 0 {
		number = int32(syscall.SIGINT)
	}
	return 128 + int(number)
}
