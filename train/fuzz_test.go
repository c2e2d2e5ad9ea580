package train

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
	"github.com/tokencache/tokencache/internal/bounded"
)

// FuzzState reads the state of a run, with what its metadata says of it, and resumes a run of one
// parameter from it.
func FuzzState(f *testing.F) {
	f.Add(`{"settings":{"steps":9,"batch":2},"step":3,"note":"{}","watch":[0,0,0]}`, 2)
	f.Add(`{"step":-5,"note":"{\"data\":\"x\"}"}`, 0)
	f.Add(`{"step":9223372036854775807,"settings":{"batch":1000000000,"micro_batch":-1}}`, 1)
	f.Fuzz(func(t *testing.T, text string, values int) {
		dir, values := t.TempDir(), values&0xFF
		c := checkpoint.Content{
			Metadata: map[string]string{stateKey: text},
			Read:     func(string, []float32) error { return nil },
		}
		for _, prefix := range []string{valuePrefix, emaPrefix, mPrefix, vPrefix} {
			c.Tensors = append(c.Tensors, checkpoint.Info{Name: prefix + "w", DType: checkpoint.F32, Shape: []int{values}})
		}
		if err := checkpoint.WriteSafetensors(filepath.Join(dir, StateFile), c); err != nil {
			return // a text that is no UTF-8
		}
		bounded.Run(t, len(text)+16*values, func() {
			state, err := ReadState(dir)
			if err == nil && state.Step < 0 {
				t.Errorf("a state of step %d", state.Step)
			}
			if r, err := ResumeRun[DenoiserNote](dir); err == nil {
				_ = r.SetSteps(r.Settings.Steps)
			}
		})
	})
}

// FuzzStateFile reads any file as the state of a run.
func FuzzStateFile(f *testing.F) {
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := written(t, StateFile, file)
		bounded.Run(t, len(file), func() { _, _ = ReadState(dir) })
	})
}

// FuzzLog reads the log of a run, of which the last line may be cut off.
func FuzzLog(f *testing.F) {
	f.Add([]byte(`{"step":1,"measures":{"loss":0.5},"grad_norm":1,"lr":0.1,"seconds":1,"images":4,"flops":9}` + "\n" + `{"st`))
	f.Add([]byte("{}\n\nnull\n[]\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		dir := written(t, LogFile, file)
		bounded.Run(t, len(file), func() {
			steps, err := ReadLog(dir)
			if err == nil && len(steps) > bytes.Count(file, []byte("\n"))+1 {
				t.Errorf("%d steps of %d lines", len(steps), bytes.Count(file, []byte("\n")))
			}
		})
	})
}

func written(t *testing.T, name string, file []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), file, 0o666); err != nil {
		t.Fatal(err)
	}
	return dir
}
