package train

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tokencache/tokencache/checkpoint"
)

// steady are quick's settings with a rate that does not depend on the number of updates in all.
var steady = func() Settings {
	s := quick
	s.Schedule = "constant"
	return s
}()

// smallNote is the note of runs of newSmall.
var smallNote = DenoiserNote{
	Source:  Source{Data: "images", Split: "train"},
	Options: DenoiserOptions{Seed: 5, Dropout: 0.2, Flip: true},
}

// trainRun makes all updates of a run.
func trainRun(t *testing.T, r *Run[DenoiserNote]) {
	t.Helper()
	l, err := r.Loop(newSmall(t, r.Note.Options), newGraph(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// newRun makes a run of some updates in dir.
func newRun(t *testing.T, dir string, steps int) {
	t.Helper()
	r, err := NewRun(dir, steady, smallNote)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SetSteps(steps); err != nil {
		t.Fatal(err)
	}
	trainRun(t, r)
}

// TestRunResumes checks that a run is found with its settings and its note, and that one of three
// updates and then three more ends in the same bits as one that was loaded after each update.
func TestRunResumes(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	newRun(t, a, 3)
	newRun(t, b, 1)
	resume := func(dir string, steps int) {
		t.Helper()
		r, err := ResumeRun[DenoiserNote](dir)
		if err != nil {
			t.Fatal(err)
		}
		if r.Note != smallNote {
			t.Errorf("note %+v, want %+v", r.Note, smallNote)
		}
		if err := r.SetSteps(steps); err != nil {
			t.Fatal(err)
		}
		want := steady
		want.Steps = steps
		if r.Settings != want {
			t.Errorf("settings %+v, want %+v", r.Settings, want)
		}
		trainRun(t, r)
	}
	resume(a, 6)
	for steps := 2; steps <= 6; steps++ {
		resume(b, steps)
	}
	for _, name := range []string{StateFile, ModelFile} {
		x, err1 := os.ReadFile(filepath.Join(a, name))
		y, err2 := os.ReadFile(filepath.Join(b, name))
		if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
			t.Errorf("%s differs (%v, %v)", name, err1, err2)
		}
	}
}

// TestNoteFormat pins the notes that are kept in states on disk.
func TestNoteFormat(t *testing.T) {
	dir := t.TempDir()
	newRun(t, dir, 1)
	state, err := ReadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"data":"images","split":"train","options":{"seed":5,"label_dropout":0.2,"flip":true,"min_snr":0}}`
	if state.Note != want {
		t.Errorf("note %s, want %s", state.Note, want)
	}
}

// TestRunErrors checks the runs that are neither begun nor resumed.
func TestRunErrors(t *testing.T) {
	dir, empty := t.TempDir(), t.TempDir()
	newRun(t, dir, 2)

	_, err := NewRun(dir, steady, smallNote)
	var exists *ExistsError
	if !errors.As(err, &exists) || exists.Path != filepath.Join(dir, StateFile) {
		t.Errorf("a second run: error %v, want an ExistsError of the state", err)
	}
	_, err = ResumeRun[DenoiserNote](empty)
	if err == nil || !strings.Contains(err.Error(), "no training run to resume") {
		t.Errorf("no run: error %v", err)
	}
	_, err = ResumeRun[ClassifierNote](dir)
	if err == nil || !strings.Contains(err.Error(), "another kind of training") {
		t.Errorf("a classifier's note: error %v", err)
	}
	for _, steps := range []int{-1, 0, 1, 2} {
		r, err := ResumeRun[DenoiserNote](dir)
		if err != nil {
			t.Fatal(err)
		}
		var finished *FinishedError
		if err := r.SetSteps(steps); !errors.As(err, &finished) || finished.Steps != 2 || finished.Dir != dir {
			t.Errorf("%d updates in all: error %v, want a FinishedError of 2", steps, err)
		}
	}
}

// TestNegativeState checks that the state of a run that made fewer updates than none is refused.
func TestNegativeState(t *testing.T) {
	dir := t.TempDir()
	c := checkpoint.Content{Metadata: map[string]string{stateKey: `{"step":-5,"note":"{}"}`}}
	if err := checkpoint.WriteSafetensors(filepath.Join(dir, StateFile), c); err != nil {
		t.Fatal(err)
	}
	if _, err := ResumeRun[DenoiserNote](dir); err == nil || !strings.Contains(err.Error(), "update -5, want 0 or more") {
		t.Errorf("error %v", err)
	}
}
