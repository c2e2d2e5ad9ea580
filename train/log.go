package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tokencache/tokencache/internal/atomicfile"
	"github.com/tokencache/tokencache/internal/regularfile"
)

// runLog is the log of a run, a line of StepStats for each update.
type runLog struct {
	f *os.File
	w *bufio.Writer
}

// openLog opens the log in dir to continue after update number step, and drops lines of later
// updates.
func openLog(dir string, step int) (*runLog, error) {
	if dir == "" {
		return &runLog{}, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, LogFile)
	steps, err := ReadLog(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		for _, r := range steps {
			if r.Step <= step {
				if err := e.Encode(r); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	return &runLog{f: f, w: bufio.NewWriter(f)}, nil
}

func (l *runLog) write(r StepStats) error {
	if l.f == nil {
		return nil
	}
	return json.NewEncoder(l.w).Encode(r)
}

// sync brings all lines onto the disk.
func (l *runLog) sync() error {
	if l.f == nil {
		return nil
	}
	if err := l.w.Flush(); err != nil {
		return err
	}
	return l.f.Sync()
}

func (l *runLog) close() error {
	if l.f == nil {
		return nil
	}
	return errors.Join(l.w.Flush(), l.f.Close())
}

// ReadLog returns the log of the run in dir. Lines that are damaged, such as a last one that was cut
// off, are left out: the log tells of the run, which goes on without it.
func ReadLog(dir string) ([]StepStats, error) {
	path := filepath.Join(dir, LogFile)
	f, _, err := regularfile.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer f.Close()
	var steps []StepStats
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var r StepStats
		if json.Unmarshal(lines.Bytes(), &r) == nil && r.Step > 0 {
			steps = append(steps, r)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return steps, nil
}
