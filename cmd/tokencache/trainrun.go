package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/output"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/terminal"
	"github.com/tokencache/tokencache/data"
	"github.com/tokencache/tokencache/tensor"
	"github.com/tokencache/tokencache/train"
)

// trainRun holds the flags of every kind of training.
type trainRun struct {
	Data      string        `once:"" help:"Images: a folder of IDX or CIFAR files, a folder with a subfolder for each class or with captions.jsonl, or an .npz." placeholder:"PATH"`
	Split     string        `help:"Part of the data: train, test or all. Default: train where there are splits, else everything." default:"" enum:",train,test,all" placeholder:"PART"`
	SkipBad   bool          `name:"skip-broken" help:"Skip image files that cannot be read, naming them, instead of stopping."`
	Out       string        `short:"o" once:"" help:"Folder of the run: checkpoints, log, loss curve, samples." placeholder:"DIR" required:""`
	Resume    bool          `help:"Continue the run in --out, bit for bit as if it had not been stopped. Its settings are kept; --steps, --data, --threads and the intervals may be given anew."`
	Steps     *int          `help:"Updates in all. Default: what --epochs come to. The first line of progress says how long they take." placeholder:"N"`
	Epochs    *float64      `settled:"" help:"Times that each image is seen. Default: 10, for a classifier 8." placeholder:"X"`
	Batch     *int          `settled:"" help:"Images of an update. Default: 64." placeholder:"N"`
	Micro     *int          `settled:"" name:"micro-batch" help:"Images in memory together; their gradients are summed up to --batch. Default: 16." placeholder:"N"`
	LR        *float64      `settled:"" name:"lr" help:"Learning rate. Default: ${trainLR}, for a classifier ${classifierLR}." placeholder:"X"`
	Warmup    *int          `settled:"" help:"Updates over which the rate rises. Default: 200." placeholder:"N"`
	Schedule  *string       `settled:"" help:"Learning rate after the warm-up: constant, or cosine down to a hundredth. Default: ${trainSchedule}, for a classifier ${classifierSchedule}." placeholder:"NAME"`
	Optimizer *string       `settled:"" enum:"adamw,muon" help:"What follows the gradient: adamw, or muon, which makes the steps of the blocks' matrices orthogonal and takes adamw's for the rest. Default: adamw." placeholder:"NAME"`
	Decay     *float64      `settled:"" name:"weight-decay" help:"Weight decay, decoupled as in AdamW, 0 or more. Default: ${trainDecay}, for a classifier ${classifierDecay}." placeholder:"X"`
	Clip      *float64      `settled:"" help:"Bring the gradient's norm down to this; 0: leave it. Default: 1." placeholder:"X"`
	EMA       *float64      `settled:"" name:"ema" help:"Decay of the moving average of the weights, which is the model that comes out, 0 to below 1. Default: ${trainEMA}." placeholder:"X"`
	DType     *string       `settled:"" name:"dtype" enum:"f32,bf16" help:"Number format of the blocks' products, forward and backward: f32, or bf16, which is faster where the processor has it; weights, gradients and sums stay float32. Default: f32." placeholder:"f32|bf16"`
	Seed      *uint64       `short:"s" settled:"" help:"Seed of weights, order, noise and mirroring. Default: 1." placeholder:"N"`
	Flip      *bool         `settled:"" help:"Mirror images at random. Default: they stay as they are."`
	Save      time.Duration `name:"save-every" help:"Time between checkpoints, such as 90s, 3m or 1h." default:"3m"`
	Threads   int           `help:"Worker threads. Default: all processors." placeholder:"N"`
	JSON      bool          `name:"json" help:"Print one JSON object on standard output; all else goes to standard error."`
}

// trainVars are the defaults of flags of training.
func trainVars() kong.Vars {
	dit, classifier := train.Defaults(), train.ClassifierDefaults()
	return kong.Vars{
		"trainLR":            fmt.Sprint(dit.LR),
		"trainSchedule":      dit.Schedule,
		"trainDecay":         fmt.Sprint(dit.Decay),
		"trainEMA":           fmt.Sprint(dit.EMA),
		"classifierLR":       fmt.Sprint(classifier.LR),
		"classifierSchedule": classifier.Schedule,
		"classifierDecay":    fmt.Sprint(classifier.Decay),
	}
}

// Figures in the folder of a run.
const (
	lossFigure  = "loss.png"
	sampleSheet = "samples.png"
)

// claimed trains while no other process writes to the folder of the run. Of a run to be resumed that
// has made all of its updates it draws what a killed program did not: the loss, and by sample the
// sheet of samples.
func (c *trainRun) claimed(a *app, work, sample func() error) error {
	claim, err := output.ClaimFolder(c.Out, trainFiles, nil)
	if err != nil {
		return err
	}
	err = work()
	if finished := (*train.FinishedError)(nil); errors.As(err, &finished) && c.Steps == nil {
		a.note("%v", err)
		err = nil
		if !c.drawn(lossFigure) {
			err = c.drawLoss()
		}
		if err == nil && !c.drawn(sampleSheet) {
			err = sample()
		}
	}
	return errors.Join(skippable(err, "--skip-broken"), claim.Release())
}

// drawn reports whether a figure is not older than the run's state.
func (c *trainRun) drawn(name string) bool {
	figure, err := os.Stat(filepath.Join(c.Out, name))
	if err != nil {
		return false
	}
	state, err := os.Stat(filepath.Join(c.Out, train.StateFile))
	return err == nil && !figure.ModTime().Before(state.ModTime())
}

// drawLoss draws the loss of the run's updates so far.
func (c *trainRun) drawLoss() error {
	names := map[string]string{"loss": "loss", "masked": "loss of masked passes"}
	return train.LossFigure(c.Out, filepath.Join(c.Out, lossFigure), names)
}

// trainFiles are the files of a run's folder.
var trainFiles = []string{train.StateFile, train.ModelFile, train.LogFile, lossFigure, sampleSheet}

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
	given(&s.Optimizer, c.Optimizer)
	given(&s.DType, c.DType)
	return s
}

// beginRun returns the run in --out: a new one, or with --resume the one that is there. Flags, the
// command's, are refused where they would change that one.
func beginRun[N any](c *trainRun, flags any, s train.Settings, note N) (*train.Run[N], error) {
	if !c.Resume {
		if c.Data == "" {
			return nil, errors.New("no data: give a folder of images with --data")
		}
		s = c.settings(s)
		if err := s.ValidateFor(or(c.Steps, 1)); err != nil { // before the data are read
			return nil, err
		}
		r, err := train.NewRun(c.Out, s, note)
		if exists := (*train.ExistsError)(nil); errors.As(err, &exists) {
			return nil, fmt.Errorf("%w: continue that run with --resume, or give another --out", err)
		}
		return r, err
	}
	r, err := train.ResumeRun[N](c.Out)
	if err != nil {
		return nil, err
	}
	if refused := settled(flags); len(refused) > 0 {
		slices.Sort(refused)
		return nil, fmt.Errorf("--resume keeps the run's own settings: leave out %s", strings.Join(refused, ", "))
	}
	err = r.SetSteps(or(c.Steps, r.Settings.Steps))
	if finished := (*train.FinishedError)(nil); errors.As(err, &finished) {
		return nil, fmt.Errorf("%w; to go on give more with --steps", err)
	}
	return r, err
}

// keepSource is train.Source.Keep, and says what to do with other images.
func keepSource(s *train.Source, set *data.Set, captions []data.Captions) error {
	err := s.Keep(set, captions)
	if errors.Is(err, train.ErrOtherImages) {
		return fmt.Errorf("%w: give theirs with --data, or begin another run from its model with --model", err)
	}
	return err
}

// steps returns the number of updates of a new run of settings s on so many images.
func (c *trainRun) steps(s train.Settings, images int, epochs float64) int {
	return or(c.Steps, s.Epochs(or(c.Epochs, epochs), images))
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

// finishRun trains, shows progress and plots the loss; onSave is called at checkpoints and told
// whether the run is finished.
func finishRun[N any](c *trainRun, a *app, r *train.Run[N], task train.Task, onSave func(last bool) error) error {
	pool := tensor.NewPool(c.Threads)
	defer pool.Close()
	l, err := r.Loop(task, tensor.NewGraph(pool))
	if err != nil {
		return err
	}
	l.Every = c.Save
	if c.Resume {
		a.note("resuming after update %d", l.Step())
	}
	line := terminal.NewTrainLine(a.stderr, r.Settings.Steps)
	var last train.StepStats
	l.OnStep = func(s train.StepStats) {
		last = s
		line.Step(s)
	}
	l.OnSave = func(train.StepStats) error {
		if err := c.drawLoss(); err != nil {
			return err
		}
		return onSave(l.Step() == r.Settings.Steps)
	}
	l.OnSaveError = func(err error) { line.Note("not saved, the checkpoint before is kept: %v", err) }
	err = l.Run(a.ctx)
	line.Finish()
	model := filepath.Join(c.Out, train.ModelFile)
	if err != nil {
		if errors.Is(err, context.Canceled) {
			a.note("stopped after update %d of %d, saved in %s; the same --out with --resume continues",
				l.Step(), r.Settings.Steps, c.Out)
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
			Steps:     r.Settings.Steps,
			Seconds:   line.Seconds(),
			Images:    images,
			GFLOPs:    flops,
			Model:     model,
		})
	}
	return nil
}
