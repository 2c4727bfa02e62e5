"""One task on many machines: numbered parts of the inputs, workers that Ray places, records in the order of inputs.

The command `cnncli cluster` feeds its workers itself (`crew`): names are read as they are needed, a lost worker costs
one part, and an input that ends every process that opens it becomes a failed record. Whoever has a data set in Ray Data
or Spark already needs no part of this: a Predictor can be pickled, and answers a batch with one record a row.

Ray Data, one model per worker, on GPUs with `num_gpus=1` (leave cores free: reading and writing are tasks of their own,
and wait for ever where workers have taken all):

    import json
    import ray
    from cnncli import Predictor

    class Records:
        def __init__(self, task, **options):
            self.predict = Predictor(task, **options)

        def __call__(self, batch):
            return {"file": batch["file"], "record": [json.dumps(record) for record in self.predict(batch["file"])]}

    def with_ray(names, folder, workers):
        options = {"fn_constructor_args": ["classify"], "fn_constructor_kwargs": {"device": "cpu"}}
        found = ray.data.read_parquet(names).map_batches(Records, concurrency=workers, batch_size=256, **options)
        found.write_parquet(folder)

Spark:

    import json
    from cnncli import Predictor

    def records(frames):
        predict = Predictor("classify", device="cpu", threads=1, workers=1)
        for frame in frames:
            yield frame.assign(record=[json.dumps(record) for record in predict(frame["file"])])

    def with_spark(spark, names, folder):
        frames = spark.read.parquet(names).select("file")
        frames.mapInPandas(records, "file string, record string").write.parquet(folder)

There `index` counts within a batch, so `file` tells the records apart. A column of images' bytes serves as well.
"""
