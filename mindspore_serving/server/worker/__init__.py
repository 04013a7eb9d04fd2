"""A worker process: it imports a servable, loads its models, and runs the stages of its methods.

Nothing here knows of clients or of other copies, and no library for models is named here: `backend` has those.

Begin with `process`, the life of the process, and `serving_loop`, what its main thread does. `engine` moves rows from
stage to stage; `scheduling` decides which stage or model is next, as pure functions (ADR 46). A step of a function is
`function_step`, over `stage_functions`; a batch of a model is `model_step`, over `graph_runner`, for models that are
loaded here (`model_runner`) or elsewhere (`remote_models`). `ownership` says whose an array is that user code has seen.

Words: a *job* is what entered the engine together, a batch or a call; a *chunk* is rows of a job that are at the same
stage; a *method call* comes from a thread of this process, a *model call* goes to another worker; the *origin* of a row
is the row of the main process's batch that it is for. What became of rows is a `StageResult` for one row of a function,
an `Outcome` for rows of a graph, a `RowOutcome` for neighbours of a chunk; a `Finished` chunk holds these, and `job`
makes them the `Group` of a `Result`, which is what the main process gets.
"""
