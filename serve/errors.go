package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tokencache/tokencache"
	"github.com/tokencache/tokencache/reuse"
)

// apiError is an error as the API answers it: {"error": {message, type, param, code}}.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"` // the field that is wrong
	Code    *string `json:"code"`

	status     int
	retryAfter time.Duration
	logged     bool // elsewhere
}

func (e *apiError) Error() string { return e.Message }

// The types of errors.
const (
	typeInvalid  = "invalid_request_error"
	typeAuth     = "authentication_error"
	typeDenied   = "permission_error"
	typeMissing  = "not_found_error"
	typeLimit    = "rate_limit_error"
	typeInternal = "server_error"
)

func newError(status int, kind, code, format string, args ...any) *apiError {
	return &apiError{status: status, Type: kind, Code: &code, Message: fmt.Sprintf(format, args...)}
}

// invalid reports a field of a request that is wrong.
func invalid(field, code, format string, args ...any) *apiError {
	e := newError(http.StatusBadRequest, typeInvalid, code, format, args...)
	e.Param = &field
	return e
}

// overloaded reports that there is too much to do for a request, for about so long.
func overloaded(excess time.Duration) *apiError {
	e := newError(http.StatusTooManyRequests, typeLimit, "queue_full",
		"the queue is full: there is %.1f s more work than is allowed for the request to be taken", excess.Seconds())
	e.retryAfter = excess
	return e
}

// hopeless reports that a request would wait longer than its deadline allows.
func hopeless(wait, left time.Duration) *apiError {
	e := newError(http.StatusTooManyRequests, typeLimit, "deadline_unreachable",
		"the request would wait %.1f s for others, and its deadline is in %.1f s", wait.Seconds(), left.Seconds())
	e.retryAfter = wait - left
	return e
}

// fieldOf is the field of a request that sets one of tokencache.Request.
var fieldOf = map[string]string{
	"Classes":       "prompt",
	"Conditions":    "prompt",
	"Guidance":      "guidance",
	"GuidanceHigh":  "guidance",
	"GuidanceLow":   "guidance",
	"GuidancePower": "guidance",
	"MinPSNR":       "min_psnr",
	"Negative":      "negative_prompt",
	"Policy":        "policy",
	"Sampler":       "sampler",
	"Seed":          "seed",
	"Spacing":       "spacing",
	"Steps":         "steps",
	"StepsOffset":   "spacing",
}

// asAPI returns an error as the API answers it. What is not the client's fault says nothing of the
// inside.
func asAPI(err error) *apiError {
	var api *apiError
	var field *tokencache.FieldError
	var limit *tokencache.LimitError
	var mismatch *reuse.MismatchError
	var contract *reuse.NoContractError
	var contractLimit *reuse.ContractLimitError
	var contractMismatch *reuse.ContractMismatchError
	switch {
	case errors.As(err, &api):
		return api
	case errors.As(err, &field) && fieldOf[field.Field] != "":
		return wrongField(fieldOf[field.Field], field)
	case errors.As(err, &mismatch):
		return invalid("policy", "policy_mismatch", "%v", err)
	case errors.As(err, &contract), errors.As(err, &contractLimit), errors.As(err, &contractMismatch):
		return invalid("min_psnr", "no_contract", "%v", err)
	case errors.As(err, &limit):
		return invalid("policy", "too_large", "%v", err)
	case errors.Is(err, errStopping), errors.Is(err, tokencache.ErrClosed):
		return newError(http.StatusServiceUnavailable, typeInternal, "stopping", "%v", errStopping)
	case errors.Is(err, errNoRoom):
		e := newError(http.StatusServiceUnavailable, typeInternal, "no_memory", "%v", errNoRoom)
		e.retryAfter = time.Second
		return e
	case errors.Is(err, context.DeadlineExceeded):
		return newError(http.StatusGatewayTimeout, typeInternal, "deadline_exceeded",
			"the deadline passed before the images were finished")
	case errors.Is(err, context.Canceled):
		return newError(statusClosed, typeInvalid, "cancelled", "the request was cancelled")
	}
	return newError(http.StatusInternalServerError, typeInternal, "internal_error",
		"an internal error, which the server's log tells by the request's id")
}

// wrongField reports a field by the name that the client knows. The value of a condition says
// nothing to people.
func wrongField(name string, e *tokencache.FieldError) *apiError {
	if e.Field == "Conditions" || e.Field == "Negative" {
		return invalid(name, "invalid_value", "%s: want %s", name, e.Want)
	}
	return invalid(name, "invalid_value", "%s %v: want %s", name, e.Value, e.Want)
}

// statusClosed is what servers log for a client that went away.
const statusClosed = 499

// retrySeconds is a time as the header Retry-After has it.
func (e *apiError) retrySeconds() int { return max(1, int(math.Ceil(e.retryAfter.Seconds()))) }

// writeError answers with an error.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	e := asAPI(err)
	if e.status >= http.StatusInternalServerError && !e.logged {
		s.log.ErrorContext(r.Context(), "request failed", "request_id", requestID(r), "error", err)
	}
	if e.status == http.StatusTooManyRequests || e.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(e.retrySeconds()))
	}
	if e.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, e.status, errorBody{e})
}

// errorBody is the envelope of an error.
type errorBody struct {
	Error *apiError `json:"error"`
}

// writeJSON answers with a value as JSON. A client that does not read it within writeTimeout is
// cut off.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"message":"the answer has no JSON form","type":"server_error","param":null,"code":"internal_error"}}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// writeTimeout is how long a client may take to read an answer, or an event of a stream.
const writeTimeout = 30 * time.Second

// abbreviate shortens what a user wrote, for messages.
func abbreviate(s string) string {
	const most = 60
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return strings.ToValidUTF8(s, "?")
}
