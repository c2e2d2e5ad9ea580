package terminal

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// Interruption is how signals end the program: the first ends the context, so that what is done is
// saved, and the second the process, at once.
type Interruption struct {
	Context context.Context
	Stop    func()       // ends to listen, and the context
	signal  atomic.Int32 // the first signal, 0 if there was none
}

// CatchSignals begins to listen to signals. Those that the parent process has switched off, as
// nohup does, stay so.
func CatchSignals() *Interruption {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	i := &Interruption{Context: ctx}
	i.Stop = func() {
		signal.Stop(signals)
		cancel()
	}
	go func() {
		select {
		case s := <-signals:
			if number, ok := s.(syscall.Signal); ok {
				i.signal.Store(int32(number))
			}
			i.Stop()
		case <-ctx.Done():
		}
	}()
	return i
}

// Status is the exit status after a signal, as shells have it: 130 for an interrupt, 143 for
// SIGTERM.
func (i *Interruption) Status() int {
	number := i.signal.Load()
	if number == 0 {
		number = int32(syscall.SIGINT)
	}
	return 128 + int(number)
}
