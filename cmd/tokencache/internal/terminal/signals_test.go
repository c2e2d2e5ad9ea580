//go:build unix

package terminal

import (
	"os"
	"os/exec"
	ossignal "os/signal"
	"syscall"
	"testing"
	"time"
)

// TestSignals checks that the first signal ends the context and says which exit status it is.
func TestSignals(t *testing.T) {
	for signal, status := range map[syscall.Signal]int{
		syscall.SIGINT:  130,
		syscall.SIGTERM: 143,
		syscall.SIGHUP:  129,
	} {
		t.Run(signal.String(), func(t *testing.T) {
			if ossignal.Ignored(signal) {
				t.Skip("the parent process has switched it off")
			}
			i := CatchSignals()
			defer i.Stop()
			if err := syscall.Kill(os.Getpid(), signal); err != nil {
				t.Fatal(err)
			}
			select {
			case <-i.Context.Done():
			case <-time.After(10 * time.Second):
				t.Fatal("the context goes on")
			}
			if i.Status() != status {
				t.Errorf("exit status %d, want %d", i.Status(), status)
			}
		})
	}
}

// TestSecondSignal checks that the second signal ends a process whose work does not look at the
// context.
func TestSecondSignal(t *testing.T) {
	const deaf = "TOKENCACHE_TEST_DEAF"
	if os.Getenv(deaf) != "" {
		i := CatchSignals()
		os.Stdout.WriteString("ready")
		<-i.Context.Done()
		os.Stdout.WriteString("first")
		time.Sleep(time.Minute)
		return
	}
	c := exec.Command(os.Args[0], "-test.run=^TestSecondSignal$")
	c.Env = append(os.Environ(), deaf+"=1")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	said := make([]byte, 5)
	for range 2 { // "ready", then "first"
		if _, err := out.Read(said); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond) // until the handlers are gone
		c.Process.Signal(syscall.SIGTERM)
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if state, ok := c.ProcessState.Sys().(syscall.WaitStatus); !ok || state.Signal() != syscall.SIGTERM {
			t.Errorf("ended with %v, want by the signal", err)
		}
	case <-time.After(20 * time.Second):
		c.Process.Kill()
		t.Error("the second signal did not end the process")
	}
}
