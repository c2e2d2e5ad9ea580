// Command tokencache generates images with diffusion transformers on CPUs. There is a file for each
// verb, with its flags and its output; what a verb does is in the packages.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	kongcompletion "github.com/jotaen/kong-completion"

	"github.com/tokencache/tokencache/cmd/tokencache/internal/calibration"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/jobsrun"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/terminal"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
	"github.com/tokencache/tokencache/comparison"
	"github.com/tokencache/tokencache/diffusion"
	"github.com/tokencache/tokencache/dit"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/minit2i"
	"github.com/tokencache/tokencache/models"
	"github.com/tokencache/tokencache/models/bundle"
)

// cli is the command line.
type cli struct {
	Demo      demoCmd      `cmd:"" help:"Show in some seconds what a cache policy gains: generates a few images with and without one."`
	Generate  generateCmd  `cmd:"" help:"Generate images with a model."`
	Serve     serveCmd     `cmd:"" help:"Serve models over HTTP: the images API that OpenAI's clients speak, and a page."`
	Encode    encodeCmd    `cmd:"" help:"Encode prompts ahead, so that generating needs no text encoder."`
	Merge     mergeCmd     `cmd:"" help:"Join the parts of a run that several processes generated."`
	Jobs      jobsCmd      `cmd:"" help:"Generate with many workers behind a queue, on any number of machines."`
	List      listCmd      `cmd:"" help:"List bundled models, cache policies, samplers, or the classes of a model."`
	Inspect   inspectCmd   `cmd:"" help:"Say what a model file is: architecture, size, cost, tensors."`
	Verify    verifyCmd    `cmd:"" help:"Compare this program's numbers with recorded ones of the original code."`
	Convert   convertCmd   `cmd:"" help:"Convert a checkpoint to safetensors, or back to PyTorch's format."`
	Data      dataCmd      `cmd:"" help:"Look into sets of labelled images."`
	Bench     benchCmd     `cmd:"" help:"Measure this machine: kernels and models, in GFLOP/s and percent of its peak."`
	Evaluate  evaluateCmd  `cmd:"" help:"Evaluate images: Fréchet distance to real ones, agreement with the class asked for."`
	Train     trainCmd     `cmd:"" help:"Train a model on images, or fine-tune one."`
	Compare   compareCmd   `cmd:"" help:"Compare cache methods: speed and quality."`
	Calibrate calibrateCmd `cmd:"" help:"Make a cache policy for a model, sampler and speed."`
	Version   versionCmd   `cmd:"" help:"Print the version, the platform and the CPU level in use."`

	Completion kongcompletion.Completion `cmd:"" help:"Print how a shell completes commands and flags."`

	Quiet       bool             `short:"q" help:"Print results and errors alone."`
	ShowVersion kong.VersionFlag `name:"version" help:"Print the version and end."`
}

// app is what every verb is given besides its flags.
type app struct {
	ctx    context.Context
	stdout io.Writer // results as text: with --json one JSON object and nothing else
	raw    io.Writer // the same, for bytes of a file
	stderr io.Writer // everything else
	opened opened    // the model in use, for hints

	far   *jobsrun.Far      // has tasks done by workers; nil: they are done here
	local map[string]string // where inputs of a job are that this worker has under other names
}

// printJSON writes v to standard output as one indented JSON object.
func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// note writes a line for the user to standard error.
func (a *app) note(format string, args ...any) {
	fmt.Fprintln(a.stderr, terminal.Message(fmt.Sprintf(format, args...)))
}

// newProgress returns a bar on standard error.
func (a *app) newProgress(what string) *terminal.Progress {
	return terminal.NewProgress(a.stderr, what)
}

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the program; it returns the exit status: 0, 1 for any error, or that of the signal that
// ended it.
func run(args []string, stdout, stderr io.Writer) int {
	interrupted := terminal.CatchSignals()
	defer interrupted.Stop()
	a := &app{ctx: interrupted.Context, stdout: terminal.Plain(stdout), raw: stdout, stderr: stderr}

	exit := -1 // set when kong has printed something and wants to end
	c := &cli{}
	parser := newParser(c, kong.Writers(stdout, stderr), kong.Exit(func(status int) { exit = status }))
	if kongcompletion.Register(parser); exit >= 0 {
		return exit
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help":
		args = append(args[1:], "--help")
	}
	k, err := parser.Parse(joinNegatives(parser.Model, args))
	if exit >= 0 {
		return exit
	}
	if c.Quiet {
		a.stderr = io.Discard
	}
	err = misspelt(err)
	if err == nil {
		err = errors.Join(checkOnce(k), checkBounds(k), kernel.EnvError())
	}
	if err == nil {
		err = c.checkMode(k)
	}
	if err == nil {
		err = k.Run(a)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(stderr, "tokencache: interrupted")
		return interrupted.Status()
	default:
		fmt.Fprintf(stderr, "tokencache: %s\n", terminal.Message(a.explain(err)))
		return 1
	}
}

// checkOnce reports flags of inputs and outputs that are given more than once, where only the last
// would count, or empty, as of a variable of a shell that is not set. They have the tag once.
func checkOnce(k *kong.Context) error {
	seen := map[*kong.Flag]bool{}
	for _, p := range k.Path {
		if p.Flag == nil {
			continue
		}
		if seen[p.Flag] && p.Flag.Tag.Has("once") {
			return fmt.Errorf("--%s is given more than once, and takes one value", p.Flag.Name)
		}
		seen[p.Flag] = true
		if v := p.Flag.Target; p.Flag.Tag.Has("once") && v.Kind() == reflect.String && v.Len() == 0 {
			return fmt.Errorf("--%s is empty: give a value, or leave the flag out", p.Flag.Name)
		}
	}
	return nil
}

// classModels lists the bundled models that take no prompts.
func classModels() []string {
	return slices.DeleteFunc(models.Names(), func(name string) bool { return bundle.Lookup(name).Prompts != nil })
}

// newParser returns the parser of the command line.
func newParser(c *cli, options ...kong.Option) *kong.Kong {
	parser, err := kong.New(c, append(options,
		kong.Name("tokencache"),
		kong.Description("Generate images with diffusion transformers (DiT) on CPUs, in pure Go."),
		kong.UsageOnError(),
		kong.Configuration(loadConfig),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{
			"architectures":    strings.Join(dit.OfficialNames(), ", "),
			"textarchitecture": minit2i.MiniT2IB16().Name(),
			"classmodels":      strings.Join(classModels(), ", "),
			"families":         strings.Join(comparison.Methods(), ", "),
			"maxLoss":          fmt.Sprint(comparison.MaxLoss),
			"compareSeed":      fmt.Sprint(comparison.DefaultSeed),
			"model":            models.Default,
			"text":             models.DefaultText,
			"models":           strings.Join(models.Names(), ", "),
			"samplers":         strings.Join(diffusion.Methods(), ", "),
			"forms":            strings.Join(diffusion.Forms(), ", "),
			"lasts":            strings.Join(diffusion.LastSteps(), ", "),
			"spacings":         strings.Join(diffusion.Spacings(), ", "),
			"broker":           jobsrun.DefaultAddress,
			"version":          version.Describe().String(),
			"maxImages":        fmt.Sprint(maxCount),
		},
		trainVars(),
		calibration.Vars(),
	)...)
	if err != nil {
		panic(err) // a mistake in the struct tags, seen by every test
	}
	group(parser.Model)
	return parser
}
