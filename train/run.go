package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/tensor"
)

// Source is the images that a run trains on, by which they are opened again when it resumes.
type Source struct {
	Data  string `json:"data"`  // path, as data.Open takes it
	Split string `json:"split"` // see data.Options
	// Digest is data.Set's, of the images that the run was begun with; "" if none was kept.
	Digest string `json:"digest,omitempty"`
}

// ErrOtherImages reports that a run would go on with other images.
var ErrOtherImages = errors.New("these are not the images that the run was begun with")

// Keep keeps what tells the set from others or, if the run was begun before, fails with
// ErrOtherImages if the set is not the one that it was begun with.
func (s *Source) Keep(set *data.Set, captions []data.Captions) error {
	digest, err := set.Digest(captions)
	if err != nil {
		return err
	}
	if s.Digest != "" && s.Digest != digest {
		return fmt.Errorf("data %s: %w", set.Path, ErrOtherImages)
	}
	s.Digest = digest
	return nil
}

// DenoiserNote is the note of a run that trains a Denoiser.
type DenoiserNote struct {
	Source
	Options DenoiserOptions `json:"options"`
}

// ClassifierNote is the note of a run that trains a ClassifierTask.
type ClassifierNote struct {
	Source
	Captions []string          `json:"captions,omitempty"` // files of captions in the folder, or nil for classes
	Options  ClassifierOptions `json:"classifier"`
}

// Run is a training run that is kept in a folder. N is the type of its note, from which its task
// can be made again: DenoiserNote, ClassifierNote, or any other that encoding/json reads back.
type Run[N any] struct {
	Dir      string
	Settings Settings
	Note     N

	made    int // updates made before
	resumed bool
}

// NewRun returns a new run in dir. It writes nothing yet. If there is a run in dir, the error is an
// *ExistsError.
func NewRun[N any](dir string, s Settings, note N) (*Run[N], error) {
	path := filepath.Join(dir, StateFile)
	if _, err := os.Stat(path); err == nil {
		return nil, &ExistsError{Path: path}
	}
	return &Run[N]{Dir: dir, Settings: s, Note: note}, nil
}

// ResumeRun returns the run in dir, with the settings and the note that it was begun with. A note
// with a field that N does not have is that of another kind of training, and an error.
func ResumeRun[N any](dir string) (*Run[N], error) {
	state, err := ReadState(dir)
	if err != nil {
		return nil, err
	}
	r := &Run[N]{Dir: dir, Settings: state.Settings, made: state.Step, resumed: true}
	d := json.NewDecoder(strings.NewReader(state.Note))
	d.DisallowUnknownFields()
	if err := d.Decode(&r.Note); err != nil {
		return nil, fmt.Errorf("%s: the state there is that of another kind of training: %w", dir, err)
	}
	return r, nil
}

// SetSteps sets the number of updates in all. If the run has made as many, the error is a
// *FinishedError.
func (r *Run[N]) SetSteps(steps int) error {
	if r.resumed && r.made >= steps {
		return &FinishedError{Dir: r.Dir, Steps: r.made}
	}
	r.Settings.Steps = steps
	return nil
}

// Loop returns the loop that trains task: from its weights, or from where the run stopped. The task
// must be the one of the run's note.
func (r *Run[N]) Loop(task Task, g *tensor.Graph) (*Loop, error) {
	note, err := json.Marshal(r.Note)
	if err != nil {
		return nil, err
	}
	l, err := NewLoop(task, g, r.Dir, r.Settings)
	if err != nil {
		return nil, err
	}
	l.Note = string(note)
	if r.resumed {
		err = l.Resume()
	}
	return l, err
}

// ExistsError reports that there is a run already where one was to begin.
type ExistsError struct {
	Path string // of its state
}

func (e *ExistsError) Error() string { return e.Path + " is there already" }

// FinishedError reports that a run to be resumed has made all of its updates.
type FinishedError struct {
	Dir   string
	Steps int // updates made
}

func (e *FinishedError) Error() string {
	return fmt.Sprintf("the run in %s has made all of its %d updates", e.Dir, e.Steps)
}
