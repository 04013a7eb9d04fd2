"""The rows of the contract, section by section, in its order; a case, or a test elsewhere, stands for each."""

from __future__ import annotations

# Section: its rows. `test_rows.py` finds the case of each.
ROWS = {
    "0": "stop-on-exception-servables stop-on-exception-grpc stop-on-exception-rest stop-on-exception-parameter "
    "deprecated-call_servable deprecated-declare_servable deprecated-generation-a relative-paths",
    "0.1": "check_str-type check_str-empty check_bytes-type check_bytes-empty check_bool check_int-bool check_int-type "
    "check_int-below check_int-above check_int-minimum check_int-maximum check_ip_port-below check_ip_port-above "
    "str_list-type str_list-item str_list-item-empty str_list-repeated str_list-from-str int_list-type int_list-item "
    "int_list-minimum int_list-repeated int_list-from-int check_int_tuple_list check_int_tuple_list-returns-nothing "
    "groups-type groups-inner groups-inner-repeated groups-repeated groups-bare-str",
    "1": "client log master worker server server.register server.master.context register server.distributed "
    "worker.distributed",
    "2.1": "master.start_grpc_server master.start_restful_server master.start_master_server master.stop "
    "master.context.set_max_enqueued_requests worker.start_servable_in_master worker.start_servable worker.stop "
    "worker.register.declare_servable start_grpc_server-ip start_grpc_server-grpc_port "
    "start_grpc_server-max_msg_mb_size start_restful_server-restful_port start_master_server-master_port "
    "set_max_enqueued_requests-range start_servable_in_master-client start_servable_in_master-rest "
    "start_servable_in_master-lines start_servable Client-form Client-ip Client-port "
    "all-fail-alike config-module-not-found config-value-error text-function-arity "
    "text-model-arity text-no-model text-placeholder text-AclOptions-unsupported text-AclOptions-value "
    "text-model_format "
    "start_servable-device_type start_servable-device_id start_servable-master_ip start_servable-worker_port "
    "error-directory error-file error-version error-model error-second-servable error-master-server-twice "
    "error-worker-port-taken error-master-port-taken error-rest-port-taken error-grpc-port-taken stop "
    "worker.distributed.declare_distributed_servable worker.distributed.start_distributed_servable_in_master "
    "worker.distributed.start_distributed_servable worker.distributed.startup_worker_agents "
    "start_distributed_servable-worker_port start_distributed_servable-master_port "
    "start_distributed_servable_in_master-wait_agents_time_in_seconds startup_worker_agents-worker_port",
    "2.2": "start-line worker-before-master stop-registration versions lost-worker worker-sigterm worker-sigint "
    "master-sigterm master-sigint worker-killed heartbeat one-process one-process-again one-process-worker-ends "
    "one-process-other-master one-process-port-taken",
    "3.1": "start_grpc_server-address-type start_grpc_server-ssl_config-type start_restful_server-ssl_config-type "
    "start_restful_server-max_msg_mb_size-513 unix-socket stop stop-nothing-runs stop-answers-pending "
    "start-after-refusal SSLConfig-certificate-type SSLConfig-verify_client-type SSLConfig-custom_ca-type "
    "SSLConfig-custom_ca-ignored set_max_enqueued_requests-range address-grpc-no-colon address-rest-no-colon "
    "address-grpc-empty-ip address-rest-empty-port address-grpc-port-no-number address-rest-port-no-number "
    "address-grpc-port-suffix address-grpc-port-range address-rest-port-overflow address-grpc-unix-empty "
    "address-rest-unix address-grpc-last-colon bind-fails-grpc bind-fails-rest grpc-twice rest-twice port-reuse "
    "success-lines one-port-rest-second one-port-grpc-second",
    "3.2": "declare_servable-servable_file declare_servable-model_format declare_servable-options "
    "AclOptions-unsupported AclOptions-setters GpuOptions-unsupported GpuOptions-enable_trt_infer call_preprocess "
    "call_preprocess_pipeline call_servable call_servable-subgraph call_postprocess-built-in "
    "PipelineServable-servable_name PipelineServable-method PipelineServable-version_number run-batch "
    "run-several-outputs run-failed pipeline register_pipeline-var-positional register_pipeline-twice "
    "pipeline-visibility pipeline-error-exception pipeline-error-outputs-count pipeline-error-type "
    "pipeline-error-run-arity pipeline-error-of-one-instance pipeline-missing-input order-preprocess-twice "
    "order-servable-before-preprocess order-servable-before-preprocess-pipeline order-postprocess-before-preprocess "
    "order-postprocess-before-preprocess-pipeline order-servable-twice order-postprocess-before-servable "
    "order-postprocess-twice text-function-arity text-registered-inputs-count text-registered-outputs-count "
    "text-model-arity text-no-model text-preprocess-failed text-postprocess-failed text-placeholder",
    "4.1": "model_file-str model_file-list model_file-type model_format model_format-type with_batch_dim "
    "without_batch_dim_inputs without_batch_dim_inputs-0 context-type options-type config_file-type "
    "registry-same-model registry-file-used registry-distributed call-one call-many call-two-outputs call-nothing "
    "call-list-of-values "
    "call-empty-list call-not-declared call-subgraph-1 call-one-input call-second-has-one-input call-wide "
    "call-second-is-wide call-more-than-batch-size add_stage-tag add_stage-placeholder add_stage-model-not-declared "
    "add_stage-other-type add_stage-lambda add_stage-batch_size add_stage-batch_size-inconsistent "
    "add_stage-unknown-built-in add_stage-model-inputs-count add_stage-model-outputs-count add_stage-outputs_count "
    "add_stage-outputs_count-required add_stage-too-many-to-unpack add_stage-not-iterable Context-default "
    "Context-getters Context-unsupported Context-thread_num Context-thread_affinity_core_list Context-enable_parallel "
    "Context-append-type Context-append-cpu-twice Context-append-gpu-twice Context-append-ascend-twice "
    "Context-device_types Context-str DeviceInfo-context_map DeviceInfo-options "
    "CPUDeviceInfo CPUDeviceInfo-unsupported CPUDeviceInfo-value GPUDeviceInfo GPUDeviceInfo-unsupported "
    "GPUDeviceInfo-value AscendDeviceInfo AscendDeviceInfo-unsupported AscendDeviceInfo-input_format "
    "AscendDeviceInfo-output_type AscendDeviceInfo-precision_mode AscendDeviceInfo-op_select_impl_mode "
    "AscendDeviceInfo-buffer_optimize_mode AclOptions-context GpuOptions-context",
    "4.2": "signature servable_directory servable_name device_ids-none device_ids-int device_ids-repeated "
    "device_ids-negative version_number-negative device_type device_type-case device_type-none "
    "num_parallel_workers-65 num_parallel_workers-becomes-1 dec_key-type dec_key-empty dec_key-length dec_mode-value "
    "dec_key-in-the-place-of-1.3 start_servables-type start_servables-item start_servables merge-device-type-gpu "
    "merge-device-type-with-cpu merge-directory merge-directory-missing merge-file-missing merge-same-version "
    "merge-workers merge-key merge-mode merge-different-versions merge-device-used-twice merge-no-version-directory "
    "no-models-no-version death-of-one-worker signal-while-workers-start no-version-directory version-absent "
    "model-file-absent model-file-bad import-error import-error-key import-error-arguments "
    "import-error-file-in-two-models nothing-registered no-methods no-device-no-cpu no-device-no-cpu-no-version "
    "device-used-twice device_type-type device_type-empty servable_name-slash version_number-largest enable_lite",
    "4.3": "declare_servable declare_servable-rank_size declare_servable-stage_size declare_servable-with_batch_dim "
    "declare_servable-enable_pipeline_infer declare_servable-local declare_servable-repeated start_servable "
    "start_servable-rank_table_json_file start_servable-version_number start_servable-distributed_address "
    "start_servable-wait_agents_time_in_seconds startup_agents",
    "5.1": "newest-is-a-number other-names other-digits leading-zero version-0 too-large-a-version no-hot-reload "
    "several-versions neighbouring-modules name-shadows-json import-in-workers-only get_servable_dir helper-registers "
    "SERVING_DEVICE_ID",
    "5.2": "output_names-type parameter-var-positional parameter-var-keyword parameter-keyword-only parameter-default "
    "control-flow return-placeholder return-count return-input duplicate-method decorator-returns-the-function graph "
    "ast-docstring ast-plain-names ast-servable-without-args ast-preprocess-without-args ast-if ast-for ast-while "
    "ast-with ast-other-call ast-several-names ast-nested-call ast-value-assigned ast-no-servable "
    "ast-mixed-with-add_stage ast-stage-count ast-two-models ast-subgraph-negative tag two-lambdas",
    "5.3": "input-array input-writable input-rest-int input-int-of-client input-str input-bytes same-object-array "
    "in-place output-tuple output-generic-float16 output-str output-bytes output-bool output-int output-float "
    "output-with-asnumpy output-None output-dict output-object-array output-torch not-contiguous output-one "
    "batch-list batch-generator batch-iterator batch-decorated extra-items-list batch_size-4 batch_size-0 "
    "raises-function raises-generator restart-after-an-exception batch-raises returns-none ends-early outputs-number "
    "outputs-number-one-instance stage-index exception-exit model-fails built-in-int32 built-in-float16 "
    "built-in-bool built-in-str built-in-bytes",
    "5.4": "with-batch-dim without-batch-dim shape-input-empty shape-batch-size shape-output-batch-size too-few-inputs "
    "byte-size dtype shape-is-not-compared order-of-the-reply-model combined two-copies limit limit-counts-requests "
    "retry retry-limit cancelled",
    "5.5": "process-names agent-process-names extra-process-names extra-count extra-log-files extra-skipped "
    "models-on-cpu extra-model-stage extra-Model.call extra-Model.call-subgraph extra-model-only-method "
    "extra-no-model-only-methods "
    "extra-SERVING_DEVICE_ID call_methods enable_lite-subgraphs socket-files long-socket-path log-files "
    "log-files-truncated log-appended register-line start-failure-stops-all extra-start-failure restart "
    "sigkill-before-any-request exit-message exit-without-devices sigint-main parent-death signals-at-any-time "
    "outlives-the-script sigint-only-worker GLOG_v-0 GLOG_v-1 GLOG_v-2 GLOG_v-3 GLOG_v-default GLOG_logtostderr-0 "
    "GLOG_logtostderr-1 GLOG_logtostderr-value GLOG_log_dir-empty GLOG_log_dir-missing logger_maxBytes "
    "logger_backupCount log-rotation GLOG_stderrthreshold-0 GLOG_stderrthreshold-default MS_SUBMODULE_LOG_v log-line "
    "extra-all-work get_log_config",
    "6.1": "MSService PredictRequest PredictReply ServableSpec ErrorMsg Instance Tensor TensorShape ShmTensorData "
    "DataType PingRequest PongReply TensorInfo MSMaster RegisterRequest WorkerRegSpec ServableRegSpec RegisterReply "
    "ExitReply ExitRequest NotifyFailedRequest GetModelInfoRequest ModelSubGraphInfo ModelInfo ModelInfos "
    "GetModelInfoReply MSWorker MSDistributedWorker MSAgent DistributedPredictRequest DistributedPredictReply "
    "DistributedExitRequest DistributedExitReply AgentSpec CommonModelMeta DistributedModelMeta AgentRegisterRequest "
    "AgentExitRequest AgentFailedRequest AgentConfigAcquireRequest AgentConfigAcquireReply OneRankConfig reply-one "
    "reply-spec-is-echoed reply-three reply-scalar reply-float16 reply-text reply-bytes reply-all-failed reply-mixed "
    "reply-request-level unknown-fields-request unknown-fields-tensor field-3 client-sends-field-2 client-of-1.2 "
    "client-of-2.x size-limit size-limit-default no-reflection no-health",
    "6.2": "all-ok all-failed-alike all-failed-differently mixed-function",
    "6.3": "unknown-servable unknown-servable-version unknown-method no-live-worker missing-input text-count "
    "text-shape dims unknown-dtype data-length zero-instances extra-input",
    "7.1": "url-version url-version-first url-version-0 status-404-servable keys-sorted content-type verb-get "
    "verb-put verb-delete verb-head empty-body body-size json-syntax no-model version-range version-value no-method "
    "name-holds-version query percent no-instances instances-no-key instances-empty instances-empty-object "
    "later-item first-item-empty empty-key other-keys one-object order-verb order-json always_ok-servable "
    "always_ok-variable",
    "7.2": "int int-range int-for-float-model float float-range bool str null list-int list-float list-bool "
    "str-list str-nested b64 b64-type-shape b64-default-shape b64-list type-int8 type-int16 type-int64 type-uint8 "
    "type-uint16 type-uint32 "
    "type-uint64 type-bool type-str type-bytes empty-list empty-nested ragged scalar-where-list list-where-scalar "
    "mixed one-text b64-number-in-list b64-more-keys b64-unknown-key b64-missing b64-type-not-str b64-unknown-type "
    "b64-shape-no-list b64-shape-item b64-dim-after-zero b64-text-shape b64-not-str b64-length b64-content b64-size "
    "b64-empty",
    "7.3": "success float16 float32 float64 number-forms str str-list bytes bytes-list nan mixed-model "
    "request-level all-same",
    "7.4": "tls-1.1 tls-1.2 tls-1.3 mutual mutual-refuses rest-no-certificate rest-no-key rest-mismatch "
    "rest-no-authority grpc-no-certificate grpc-mismatch",
    "8.1": "form-1 form-2 file-missing file-unreadable not-json not-an-object server_list group_list instance_list "
    "server_id device devices device_id rank_id integer-device_id integer-rank_id rank-order counts-rank_size "
    "counts-stage_size one-stage-device-twice one-stage-device-8 stages-rank_size stages-device_id stages-device-ip",
    "8.2": "not-distributed taken-address time-over agent-failed signal graph-count inputs outputs batch-size",
    "8.3": "agent_start_port-below agent_start_port-above model_files-type group_config_files-at-most-one "
    "subgraph-counts dec_key-length dec_mode first-ip-that-can-be-bound local-ip agent_ip ranks-of-rank_start "
    "together-agent_ip together-rank_start rank_start card-count group-count model-file group-config-file "
    "rank-table-file environment success-lines agent-fails signal",
    "8.4": "all-ranks no-inputs-for-later-stages last-rank limit rank-fails pipeline-infer subgraphs",
    "8.5": "agent start-up worker main worker-silent agents-silent agent-late",
    "9": "one-way mutual mutual-refuses one-way-refuses client-certificate-alone client-private_key-alone "
    "client-all-none client-custom_ca-type host-name server-attributes key-gcm key-cbc key-several-files "
    "key-extra-workers key-restart key-nowhere key-wrong key-missing key-plain-file key-damaged mode-of-the-file",
    "10": "address-type servable_name-type method_name-type version_number-range ssl_config-type attributes "
    "no-connection-in-the-constructor instances-no-map instances-list infer_async value-array-int8 value-str "
    "sent-bool sent-int sent-float value-bytes value-list value-none sent-np.bool_ value-str-array value-object-array "
    "reply-array reply-str reply-bytes reply-several-bytes all-ok reply-request-error reply-single-failure "
    "reply-partial grpc-failure-unavailable grpc-failure-resource-exhausted inconsistent-reply",
    "11.1": "tensor_add-grpc tensor_add-rest client_mul_process add_sub_pipeline-only-model add_sub_pipeline-complex "
    "lenet resnet-classify_top1 resnet-classify_top1_batch resnet-classify_top1_v2 resnet-classify_top1_v3 "
    "resnet-classify_top5 matmul_distributed matmul_multi_subgraphs pipeline_worker "
    "pipeline_distributed",
    "11.2": "add_mul_process kill_9_master kill_15_master kill_9_worker kill_15_worker restart "
    "distributed-lines kill_15_agent kill_15_server kill_9_agent kill_9_server",
    "11.3": "test_server_client-many test_server_client-tls test_server_client-outputs "
    "test_server_client-preprocess-outputs test_server_client-postprocess-outputs test_server_client-in-place "
    "test_server_client-too-large test_server_client-max-requests test_server_client-batch-dim "
    "test_server_client-one-bad-instance test_server_client-two-models test_server_client-sigint-worker "
    "test_server_client-sigkill-after-a-request test_server_client-sigkill-before-any test_server_client-addresses "
    "test_start_servables-versions test_start_servables-merge test_start_servables-cpu "
    "test_start_servables-merge-keys test_start_servables-merge-two-keys test_start_servables-dec "
    "test_start_servable_config-order test_start_servable_config-name test_start_servable_config-complex "
    "test_register_method-echo test_register_method-arity test_register_method-repeated "
    "test_stage_function-outputs test_stage_function-exceptions test_model_call-subgraphs-of-different-arity "
    "test_multi_model test_python_parallel test_model_context test_grpc_request-shapes test_grpc_request-unix "
    "test_restful_request-all-fail test_restful_request-tls test_restful_request-versions "
    "test_restful_json_data-mixed test_restful_base64_data-types test_serving_log test_pipeline_request-kinds "
    "test_distributed_worker-replies test_distributed_worker-signals test_distributed_worker-missing-file "
    "test_pipeline_request-batch test_mater_worker_client-cluster test_start_worker-device_id",
    "12.1": "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 18",
    "12.2": "success-line cluster client-ip-port blank-in-name dec_key-place options subgraph deleted-names "
    "none-in-SSLConfig typos enable_lite dec_mode",
}

# Rows for which a case of another row stands, or a test of another folder.
STAND_INS = {
    "2.2-heartbeat": "tests/server/test_cluster.py::test_a_worker_joins_again_when_its_killed_master_is_back",
    "3.1-stop-answers-pending": (
        "tests/fault/test_processes.py::test_requests_under_way_are_answered_when_the_server_ends"
    ),
    "4.1-without_batch_dim_inputs-0": "tests/unit/register/test_register.py::test_inputs_without_batch_dimension",
    "4.2-signal-while-workers-start": "tests/fault/test_processes.py::test_a_signal_while_workers_start",
    "5.3-model-fails": "tests/unit/worker/test_model_runner.py",
    "5.4-shape-input-empty": "tests/unit/worker/test_model_runner.py",
    "5.4-shape-batch-size": "tests/unit/worker/test_model_runner.py",
    "5.4-shape-output-batch-size": "tests/unit/worker/test_model_runner.py",
    "5.4-too-few-inputs": "4.1-call-one-input",
    "5.4-combined": "tests/server/test_batching.py::test_waiting_instances_of_several_requests_are_combined",
    "5.4-two-copies": "tests/server/test_batching.py::test_two_copies_share_the_work",
    "5.4-limit": "tests/server/test_batching.py::test_one_of_two_requests_is_above_the_limit_of_one",
    "5.4-limit-counts-requests": (
        "tests/server/test_batching.py::test_the_limit_counts_requests_and_not_instances"
    ),
    "5.4-retry": "tests/fault/test_processes.py::test_what_a_killed_worker_held_runs_elsewhere",
    "5.4-retry-limit": "tests/fault/test_processes.py::test_an_instance_that_kills_its_worker_fails_alone",
    "5.4-cancelled": "tests/fault/test_clients.py::test_one_of_four_requests_of_a_batch_is_cancelled",
    "5.5-agent-process-names": (
        "tests/server/test_distributed.py::test_ps_counts_the_start_script_and_each_agent"
    ),
    "5.5-parent-death": "tests/fault/test_processes.py::test_workers_end_with_a_killed_main_process",
    "5.5-signals-at-any-time": "tests/fault/test_processes.py::test_a_script_that_is_still_busy_ends_too",
    "8.2-not-distributed": "tests/server/test_distributed.py::test_a_servable_that_is_not_distributed",
    "8.2-taken-address": "tests/server/test_distributed.py::test_a_port_of_the_worker_that_is_taken",
    "8.2-time-over": "tests/server/test_distributed.py::test_agents_that_do_not_come_in_time",
    "8.2-agent-failed": "tests/server/test_distributed.py::test_models_that_cannot_be_loaded_together",
    "8.2-signal": "tests/server/test_distributed.py::test_a_signal_while_agents_are_awaited",
    "8.2-graph-count": "tests/server/test_distributed.py::test_ranks_with_different_numbers_of_graphs",
    "8.2-inputs": "tests/unit/distributed/test_agent_facts.py::test_graphs_that_do_not_fit",
    "8.2-outputs": "tests/unit/distributed/test_agent_facts.py::test_graphs_that_do_not_fit",
    "8.2-batch-size": "tests/unit/distributed/test_agent_facts.py::test_graphs_that_do_not_fit",
    "8.3-rank-table-file": "tests/server/test_distributed.py::test_the_rank_table_is_written_for_the_agents",
    "8.3-environment": (
        "tests/server/test_distributed.py::test_the_rank_table_under_its_other_name_and_group_configurations"
    ),
    "8.3-success-lines": "tests/server/test_distributed.py::test_what_the_scripts_say",
    "8.3-agent-fails": "tests/server/test_distributed.py::test_a_port_of_an_agent_that_is_taken",
    "8.3-signal": "tests/server/test_distributed.py::test_a_signal_while_the_worker_is_awaited",
    "8.4-all-ranks": "tests/server/test_distributed.py::test_requests_over_grpc",
    "8.4-no-inputs-for-later-stages": (
        "tests/unit/distributed/test_agent_facts.py::test_later_stages_without_inputs_get_none"
    ),
    "8.4-last-rank": "tests/fault/test_distributed.py::test_outputs_other_than_declared",
    "8.4-limit": "tests/fault/test_distributed.py::test_an_agent_that_is_stopped",
    "8.4-rank-fails": (
        "tests/fault/test_distributed.py::test_the_graph_is_loaded_anew_on_all_ranks_after_one_has_failed"
    ),
    "8.4-pipeline-infer": "tests/server/test_distributed.py::test_two_stages_that_work_at_the_same_time",
    "8.4-subgraphs": "tests/server/test_distributed.py::test_several_graphs_per_rank",
    "8.5-agent": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "8.5-start-up": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "8.5-worker": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "8.5-main": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "8.5-worker-silent": (
        "tests/fault/test_distributed.py::test_a_worker_that_is_stopped_is_killed_and_its_agents_end"
    ),
    "8.5-agents-silent": (
        "tests/server/test_distributed_network.py::test_when_the_cable_is_cut_requests_fail_and_everything_ends"
    ),
    "8.5-agent-late": (
        "tests/mindspore/test_distributed.py::test_four_ranks_fail_together_load_anew_and_go_out_of_step"
    ),
    "9-key-gcm": "tests/mindspore/test_encrypted_models.py::test_replies",
    "9-key-cbc": "tests/mindspore/test_encrypted_models.py::test_replies",
    "9-key-several-files": "tests/mindspore/test_encrypted_models.py::test_replies",
    "9-key-restart": "tests/mindspore/test_encrypted_models.py::test_the_key_shows_nowhere",
    "9-key-nowhere": "tests/mindspore/test_encrypted_models.py::test_the_key_shows_nowhere",
    "9-key-wrong": "tests/mindspore/test_encrypted_models.py::test_refusals",
    "9-key-missing": "tests/mindspore/test_encrypted_models.py::test_refusals",
    "9-key-plain-file": "tests/mindspore/test_encrypted_models.py::test_refusals",
    "9-key-damaged": "tests/mindspore/test_encrypted_models.py::test_refusals",
    "9-mode-of-the-file": "tests/mindspore/test_encrypted_models.py::test_another_mode_is_warned_of",
    "11.1-matmul_distributed": "tests/example/test_examples.py::test_example_as_its_readme_says",
    "11.1-pipeline_distributed": "tests/example/test_examples.py::test_example_as_its_readme_says",
    "11.2-distributed-lines": "tests/server/test_distributed.py::test_what_the_scripts_say",
    "11.2-kill_15_agent": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "11.2-kill_15_server": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "11.2-kill_9_agent": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "11.2-kill_9_server": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "11.3-test_distributed_worker-replies": "tests/server/test_distributed.py::test_requests_over_grpc",
    "11.3-test_distributed_worker-signals": "tests/fault/test_distributed.py::test_whoever_ends_all_end",
    "11.3-test_distributed_worker-missing-file": (
        "tests/server/test_distributed.py::test_a_model_file_that_is_missing"
    ),
    "12.1-8": "tests/fault/test_distributed.py::test_a_failed_batch_fails_alone",
    "11.3-test_server_client-many": "5.4-order-of-the-reply-model",
    "11.3-test_server_client-tls": "9-mutual",
    "11.3-test_server_client-outputs": "5.3-outputs-number",
    "11.3-test_server_client-in-place": "5.3-in-place",
    "11.3-test_server_client-too-large": "10-grpc-failure-resource-exhausted",
    "11.3-test_server_client-max-requests": (
        "tests/server/test_batching.py::test_exactly_one_of_two_calls_fails"
    ),
    "11.3-test_server_client-batch-dim": "5.4-with-batch-dim",
    "11.3-test_server_client-one-bad-instance": "10-partial-dtype",
    "11.3-test_server_client-two-models": "5.2-two-models",
    "11.3-test_server_client-addresses": "3.1-address-grpc-bind-256",
    "11.3-test_start_servables-versions": "5.1-several-versions",
    "11.3-test_start_servables-merge": "4.2-merge-same-version",
    "11.3-test_start_servables-cpu": "5.5-models-on-cpu",
    "11.3-test_start_servables-merge-keys": "4.2-merge-keys-per-version",
    "11.3-test_start_servables-merge-two-keys": "4.2-merge-key",
    "11.3-test_start_servable_config-order": "3.2-order-servable-twice",
    "11.3-test_start_servable_config-name": "4.2-import-error-name",
    "11.3-test_start_servable_config-complex": "5.2-ast-several-names",
    "11.3-test_register_method-echo": "5.2-return-input",
    "11.3-test_register_method-arity": "3.2-text-model-arity",
    "11.3-test_register_method-repeated": "5.2-duplicate-method",
    "11.3-test_stage_function-outputs": "5.3-outputs-number-two-for-one",
    "11.3-test_stage_function-exceptions": "5.3-batch-raises",
    "11.3-test_multi_model": "5.2-functions-around-models",
    "11.3-test_model_context": "4.1-Context-getters",
    "11.3-test_grpc_request-shapes": "10-value-array-float16",
    "11.3-test_grpc_request-unix": "3.1-unix-socket",
    "11.3-test_restful_request-tls": "7.4-mutual",
    "11.3-test_restful_request-versions": "7.1-url-version-first",
    "11.3-test_restful_json_data-mixed": "7.2-mixed",
    "11.3-test_restful_base64_data-types": "7.2-type-uint64",
    "11.3-test_pipeline_request-kinds": "3.2-pipeline-kinds",
    "11.3-test_pipeline_request-batch": "3.2-run-batch",
    "11.3-test_mater_worker_client-cluster": "2.2-versions",
    "11.3-test_start_worker-device_id": "2.1-start_servable-device_id",
    "12.1-1": "6.3-zero-instances",
    "12.1-3": "5.3-exception-exit",
    "12.1-6": "5.4-shape-is-not-compared",
    "12.1-7": "0-relative-paths",
    "12.1-9": "2.2-lost-worker",
    "12.1-10": "7.1-always_ok-servable",
    "12.1-11": "6.1-text-not-utf8",
    "12.1-12": "4.1-AscendDeviceInfo-output_type",
    "12.1-13": "0-stop-on-exception-servables",
    "12.1-16": "7.1-json-syntax",
    "12.1-18": "5.3-input-float-of-client",
    "12.2-success-line": "3.1-success-lines",
    "12.2-cluster": "2.1-start_servable",
    "12.2-client-ip-port": "2.1-Client-form",
    "12.2-blank-in-name": "4.2-merge-directory-missing",
    "12.2-dec_key-place": "4.2-dec_key-in-the-place-of-1.3",
    "12.2-options": "3.2-AclOptions-setters",
    "12.2-subgraph": "3.2-call_servable-subgraph",
    "12.2-deleted-names": "2.1-worker.start_servable",
    "12.2-none-in-SSLConfig": "3.1-SSLConfig-certificate-type",
    "12.2-dec_mode": "tests/mindspore/test_encrypted_models.py::test_another_mode_is_warned_of",
}
