package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/terminal"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// trainRun holds the flags of every kind of training.
type trainRun struct {
	Data     string        `help:"Images: a folder of IDX or CIFAR files, a folder with a subfolder for each class, or an .npz." placeholder:"PATH"`
	Split    string        `help:"Part of the data: train, test or all. Default: train where there are splits, else everything." default:"" enum:",train,test,all" placeholder:"PART"`
	SkipBad  bool          `name:"skip-broken" help:"Skip image files that cannot be read, naming them, instead of stopping."`
	Out      string        `help:"Folder of the run: checkpoints, log, loss curve, samples." placeholder:"DIR" required:""`
	Resume   bool          `help:"Continue the run in --out, bit for bit as if it had not been stopped. Its settings are kept; --steps, --data, --threads and the intervals may be given anew."`
	Steps    *int          `help:"Updates in all. Default: what --epochs come to." placeholder:"N"`
	Epochs   *float64      `settled:"" help:"Times that each image is seen. Default: 10, for a classifier 8." placeholder:"X"`
	Batch    *int          `settled:"" help:"Images of an update. Default: 64." placeholder:"N"`
	Micro    *int          `settled:"" name:"micro-batch" help:"Images in memory together; their gradients are summed up to --batch. Default: 16." placeholder:"N"`
	LR       *float64      `settled:"" name:"lr" help:"Learning rate." placeholder:"X"`
	Warmup   *int          `settled:"" help:"Updates over which the rate rises. Default: 200." placeholder:"N"`
	Schedule *string       `settled:"" help:"Learning rate after the warm-up: constant, or cosine down to a hundredth." placeholder:"NAME"`
	Decay    *float64      `settled:"" name:"weight-decay" help:"Weight decay of AdamW." placeholder:"X"`
	Clip     *float64      `settled:"" help:"Bring the gradient's norm down to this; 0: leave it. Default: 1." placeholder:"X"`
	EMA      *float64      `settled:"" name:"ema" help:"Decay of the moving average of the weights, which is the model that comes out." placeholder:"X"`
	Seed     *uint64       `settled:"" help:"Seed of weights, order, noise and mirroring. Default: 1." placeholder:"N"`
	Flip     *bool         `settled:"" help:"Mirror images at random."`
	Save     time.Duration `name:"save-every" help:"Time between checkpoints." default:"3m"`
	Threads  int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON     bool          `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`
}

// given sets a setting to what a flag says, if it was given.
func given[T any](setting *T, flag *T) {
	if flag != nil {
		*setting = *flag
	}
}

// settings returns s with what the flags say.
func (c *trainRun) settings(s train.Settings) train.Settings {
	given(&s.Batch, c.Batch)
	given(&s.Micro, c.Micro)
	given(&s.LR, c.LR)
	given(&s.Warmup, c.Warmup)
	given(&s.Schedule, c.Schedule)
	given(&s.Decay, c.Decay)
	given(&s.Clip, c.Clip)
	given(&s.EMA, c.EMA)
	return s
}

// setSteps sets the number of updates, unless a resumed run has one.
func (c *trainRun) setSteps(s *train.Settings, images int, epochs float64) {
	if s.Steps == 0 {
		s.Steps = or(c.Steps, s.Epochs(or(c.Epochs, epochs), images))
	}
}

// checkNew refuses to start a run where there is one already.
func (c *trainRun) checkNew() error {
	if c.Data == "" {
		return errors.New("no data: give a folder of images with --data")
	}
	path := filepath.Join(c.Out, train.StateFile)
	if _, err := os.Stat(path); err == nil {
		return fmt.Errorf("%s is there already: continue that run with --resume, or give another --out", path)
	}
	return nil
}

// resumed takes the settings of the run in --out, and into note what its state keeps of the command
// line. Flags that would change the run are refused.
func (c *trainRun) resumed(s *train.Settings, note any, refused []string) error {
	p, err := train.ReadState(c.Out)
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(p.Note))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(note); err != nil {
		return fmt.Errorf("%s: the state there is that of another kind of training: %w", c.Out, err)
	}
	if len(refused) > 0 {
		slices.Sort(refused)
		return fmt.Errorf("--resume keeps the run's own settings: leave out %s", strings.Join(refused, ", "))
	}
	*s = p.Settings
	if c.Steps != nil {
		s.Steps = *c.Steps
	}
	if p.Step >= s.Steps {
		return fmt.Errorf("the run in %s has made all of its %d updates; to go on give more with --steps",
			c.Out, p.Step)
	}
	return nil
}

// settled lists the flags given of those that a run keeps, which have the tag of that name.
func settled(flags any) []string {
	var list []string
	v := reflect.Indirect(reflect.ValueOf(flags))
	for _, f := range reflect.VisibleFields(v.Type()) {
		if _, keeps := f.Tag.Lookup("settled"); keeps && !v.FieldByIndex(f.Index).IsZero() {
			list = append(list, "--"+cmp.Or(f.Tag.Get("name"), strings.ToLower(f.Name)))
		}
	}
	return list
}

// trainReport is what --json prints.
type trainReport struct {
	train.StepStats
	Steps   int     `json:"steps"`
	Seconds float64 `json:"seconds"` // of this run of the program
	Images  float64 `json:"images_per_second"`
	GFLOPs  float64 `json:"gflops"`
	Model   string  `json:"model"`
}

// run trains, shows progress and draws the loss; onSave is called at checkpoints.
func (c *trainRun) run(a *app, task train.Task, s train.Settings, note any, onSave func() error) error {
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	pool := tensor.NewPool(c.Threads)
	defer pool.Close()
	l, err := train.NewLoop(task, tensor.NewGraph(pool), c.Out, s)
	if err != nil {
		return err
	}
	l.Every, l.Note = c.Save, string(text)
	if c.Resume {
		if err := l.Resume(); err != nil {
			return err
		}
		a.note("resuming after update %d", l.Step())
	}
	line := terminal.NewTrainLine(a.stderr, s.Steps)
	var last train.StepStats
	l.OnStep = func(r train.StepStats) {
		last = r
		line.Step(r)
	}
	l.OnSave = func(train.StepStats) error {
		names := map[string]string{"loss": "loss", "masked": "loss of masked passes"}
		if err := train.LossFigure(c.Out, filepath.Join(c.Out, "loss.png"), names); err != nil {
			return err
		}
		return onSave()
	}
	l.OnSaveError = func(err error) { line.Note("not saved, the checkpoint before is kept: %v", err) }
	err = l.Run(a.ctx)
	line.Finish()
	model := filepath.Join(c.Out, train.ModelFile)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			a.note("stopped after update %d of %d, saved in %s; the same --out with --resume continues",
				l.Step(), s.Steps, c.Out)
		}
		if diverged := (*train.DivergedError)(nil); errors.As(err, &diverged) {
			return fmt.Errorf("%w. Lower the learning rate (--lr) or clip the gradient (--clip)", err)
		}
		return err
	}
	a.note("wrote %s", model)
	if c.JSON {
		images, flops := line.Rates()
		return a.printJSON(trainReport{
			StepStats: last,
			Steps:     s.Steps,
			Seconds:   line.Seconds(),
			Images:    images,
			GFLOPs:    flops,
			Model:     model,
		})
	}
	return nil
}
