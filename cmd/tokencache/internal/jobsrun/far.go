package jobsrun

import (
	"context"
	"encoding/json"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/cmd/tokencache/internal/version"
	"github.com/tokencache/tokencache/internal/kernel"
	"github.com/tokencache/tokencache/jobs"
)

// Far has the tasks of a command done by workers.
type Far struct {
	jobs.Caller
	Args []string // the command, with the verb first
}

// Tasks has tasks done and hands each result to take, or why there is none, in any order. It is
// what comparison.Remote and calibrate.Remote are.
type Tasks func(ctx context.Context, of string, tasks []json.RawMessage,
	take func(i int, result []byte, failed error) error) error

// Of returns what has the tasks of a model done, which may be nil: of no model. A nil Far does
// nothing: it returns nil.
func (f *Far) Of(p *tokencache.Pipeline) (Tasks, error) {
	if f == nil {
		return nil, nil
	}
	needs := jobs.Needs{Level: kernel.ActiveLevel().String(), DType: tokencache.F32.String()}
	if p != nil {
		needs.Level, needs.DType, needs.Model = p.Level(), p.DType().String(), p.Fingerprint()
	}
	var err error
	if needs.Version, err = version.Describe().Build(); err != nil {
		return nil, err
	}
	caller := f.Caller
	caller.Needs = needs
	return func(ctx context.Context, of string, list []json.RawMessage, take func(int, []byte, error) error) error {
		return caller.Do(ctx, f.Args, jobs.Tasks{Kind: f.Args[0], Of: of, List: list}, take)
	}, nil
}
