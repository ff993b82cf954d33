{{ config(materialized='external', location=env_var('BENCH_WORK') ~ '/buckets.csv', format='csv') }}
select id, name, bucket, token from {{ ref('users') }} order by token
